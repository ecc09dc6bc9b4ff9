import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Message } from '../era.ts';

/** Sends one checked request on; `body` is its text after the rewrite. */
export type Forward = (
  headers: IncomingHttpHeaders,
  message: Message,
  body: string | Buffer,
  response: ServerResponse,
) => void;
