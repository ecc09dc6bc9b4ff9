import { messageOf } from '../base/errors.ts';
import { UpstreamFault } from './transport.ts';

export function stoppedWhileStarting(server: string): UpstreamFault {
  return new UpstreamFault('unreachable', `${server} was stopped while it was starting`);
}

export function sessionLost(server: string): UpstreamFault {
  return new UpstreamFault('session_lost', `${server} no longer has what it kept for this session`);
}

export function asFault(error: unknown): UpstreamFault {
  return error instanceof UpstreamFault ? error : new UpstreamFault('unreachable', messageOf(error));
}

export function withDeadline<T>(work: Promise<T>, deadline: number, server: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new UpstreamFault('timeout', `${server} is still starting`)),
      Math.max(0, deadline - Date.now()),
    );
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
