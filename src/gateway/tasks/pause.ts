import type { Cancellation } from '../../base/cancellation.ts';
import { UpstreamFault } from '../../upstream/transport.ts';

/** Resolves after so long, ms. Rejects with an UpstreamFault at once when the caller gives up. */
export function pause(ms: number, cancellation: Cancellation | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      offCancel?.();
      resolve();
    }, ms).unref();
    const offCancel = cancellation?.onCancel((reason) => {
      clearTimeout(timer);
      reject(new UpstreamFault('abandoned', reason, { sent: true }));
    });
  });
}
