import type { ServerResponse } from 'node:http';

/** Makes the response an event stream that nothing on the way stores, transforms or holds back. */
export function startEventStream(res: ServerResponse): void {
  res.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
}
