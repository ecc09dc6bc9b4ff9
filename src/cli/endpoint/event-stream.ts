import { setTimeout as pause } from 'node:timers/promises';
import { type SseEvent, SseParser } from '../../protocol/sse.ts';
import { EndpointFault } from './endpoint-fault.ts';

const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const MAX_RESUMES = 5;
const DEFAULT_RETRY_MS = 1_000;

/** Opens the stream again after the event with this id; undefined when the endpoint offers no such thing. */
export type Resume = (lastEventId: string) => Promise<Response | undefined>;

/**
 * Reads a response's server-sent events. A stream that ends is resumed as its `id:` and `retry:` allow
 * (2025-11-25 basic/transports#resumability-and-redelivery), if `resume` is given.
 */
export async function* readEvents(first: Response, resume?: Resume): AsyncGenerator<SseEvent> {
  let response: Response | undefined = first;
  for (let resumes = 0; response?.body; resumes += 1) {
    let arrived: SseEvent[] = [];
    const parser = new SseParser(MAX_EVENT_BYTES, (event) => arrived.push(event));
    for await (const chunk of response.body) {
      if (!parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) {
        throw new EndpointFault(
          'transport',
          `an event on its stream is larger than ${MAX_EVENT_BYTES / 1024 / 1024} MiB`,
        );
      }
      yield* arrived;
      arrived = [];
    }
    if (!resume || parser.lastEventId === '' || resumes >= MAX_RESUMES) return;
    await pause(parser.retryMs ?? DEFAULT_RETRY_MS);
    response = await resume(parser.lastEventId);
  }
}
