/** A stdio server as people write it: the official SDK, both eras, one tool with a schema. Same results as the bare one. */
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';
import { echo } from './answers.ts';

serveStdio(() => {
  const server = new McpServer({ name: 'bench-sdk', version: '1.0.0' });
  const about = { description: 'Gives the message back.', inputSchema: z.object({ message: z.string() }) };
  server.registerTool('echo', about, ({ message }) => ({ content: echo(message) }));
  return server;
});
