import { setTimeout as pause } from 'node:timers/promises';
import { type SseEvent, SseParser } from '../../protocol/sse.ts';
import { EndpointFault } from './endpoint-fault.ts';

const MAX_EVENT_BYTES = 16 * 1024 * 1024;
const MAX_RESUMES = 5;
const DEFAULT_RETRY_MS = 1_000;

/** Opens the stream again after the event with this id; undefined when the endpoint offers no such thing. */
export type Resume = (lastEventId: string) => Promise<Response | undefined>;

/** How far a stream was read: what to resume after, empty for nothing, and how long to wait before. */
export type Position = { lastEventId: string; retryMs: number };

export const startOfStream = (): Position => ({ lastEventId: '', retryMs: DEFAULT_RETRY_MS });

/**
 * Reads a response's server-sent events. A stream that ends is resumed as its `id:` and `retry:` allow
 * (2025-11-25 basic/transports#resumability-and-redelivery), if `resume` is given.
 */
export async function* readEvents(
  first: Response,
  resume?: Resume,
  maxBytes = MAX_EVENT_BYTES,
): AsyncGenerator<SseEvent> {
  let response: Response | undefined = first;
  const position = startOfStream();
  for (let resumes = 0; response; resumes += 1) {
    try {
      yield* eventsOf(response, position, maxBytes);
    } catch (error) {
      if (error instanceof EndpointFault || !resume || position.lastEventId === '') throw error;
    }
    if (!resume || position.lastEventId === '' || resumes >= MAX_RESUMES) return;
    await pause(position.retryMs);
    response = await resume(position.lastEventId);
  }
}

/** The events of one response alone; keeps `position` up to date. */
export async function* eventsOf(
  response: Response,
  position: Position,
  maxBytes = MAX_EVENT_BYTES,
): AsyncGenerator<SseEvent> {
  let arrived: SseEvent[] = [];
  const parser = new SseParser(maxBytes, (event) => arrived.push(event));
  for await (const chunk of response.body ?? []) {
    if (!parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) {
      throw new EndpointFault(
        'transport',
        `an event on its stream is larger than ${maxBytes / 1024 / 1024} MiB`,
      );
    }
    if (parser.lastEventId !== '') position.lastEventId = parser.lastEventId;
    position.retryMs = parser.retryMs ?? position.retryMs;
    yield* arrived;
    arrived = [];
  }
}
