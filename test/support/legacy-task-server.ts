import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { CreateTaskRequestHandlerExtra } from '@modelcontextprotocol/sdk/experimental/tasks/interfaces.js';
import {
  InMemoryTaskMessageQueue,
  InMemoryTaskStore,
} from '@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  type CallToolResult,
  type ElicitResult,
  ElicitResultSchema,
} from '@modelcontextprotocol/sdk/types.js';

type Work = (extra: CreateTaskRequestHandlerExtra, taskId: string) => Promise<CallToolResult>;

const POLL_MS = 100;
const WHO = {
  mode: 'form',
  message: 'Who are you?',
  requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
};

/** What the tool `writes` answers. */
export const LONG_TEXT = Array.from({ length: 300 }, (_, at) => `line ${at}`).join('\n');

/** A server of 2025-11-25 with tasks, made of the SDK's own parts; its tasks live and die with their session. */
export class LegacyTaskServer implements AsyncDisposable {
  /** Methods of all requests and notifications that it got, in order. */
  readonly methods: string[] = [];
  /** Answers that it got to its questions. */
  readonly answers: Record<string, unknown>[] = [];
  private readonly stores: InMemoryTaskStore[] = [];
  private readonly sessions = new Map<string, StreamableHTTPServerTransport>();
  private readonly http = createServer((req, res) => {
    this.serve(req, res).catch(() => res.destroy());
  });

  static async start(): Promise<LegacyTaskServer> {
    const server = new LegacyTaskServer();
    await new Promise<void>((resolve) => server.http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}/mcp`;
  }

  count(method: string): number {
    return this.methods.filter((one) => one === method).length;
  }

  /** As if it had been restarted: no session is known any more, and no task. */
  async forget(): Promise<void> {
    const sessions = [...this.sessions.values()];
    this.sessions.clear();
    await Promise.all(sessions.map((session) => session.close()));
    for (const store of this.stores.splice(0)) store.cleanup();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  private async serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
    if (body?.method) this.methods.push(body.method);
    const id = req.headers['mcp-session-id'];
    let transport = typeof id === 'string' ? this.sessions.get(id) : undefined;
    if (!transport && body?.method !== 'initialize') {
      const error = { code: -32001, message: 'Session not found' };
      res.writeHead(id === undefined ? 400 : 404, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
      return;
    }
    transport ??= await this.begin();
    await transport.handleRequest(req, res, body);
  }

  private async begin(): Promise<StreamableHTTPServerTransport> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void this.sessions.set(id, transport),
    });
    await this.mcp().connect(transport as never);
    return transport;
  }

  private mcp(): McpServer {
    const taskStore = new InMemoryTaskStore();
    this.stores.push(taskStore);
    const mcp = new McpServer(
      { name: 'legacy-tasks', version: '1.0.0' },
      {
        capabilities: { tasks: { requests: { tools: { call: {} } }, cancel: {}, list: {} } },
        taskStore,
        taskMessageQueue: new InMemoryTaskMessageQueue(),
      },
    );
    this.task(mcp, 'quick', 'required', async () => {
      await delay(150);
      return said('quick is done');
    });
    this.task(mcp, 'fails', 'required', async () => ({ ...said('it went wrong'), isError: true }));
    this.task(mcp, 'slow', 'optional', () => new Promise(() => {}));
    this.task(mcp, 'endless', 'required', () => new Promise(() => {}));
    this.task(mcp, 'asks', 'required', (extra, taskId) => this.ask(extra, taskId));
    // On the standalone stream, whether or not somebody fetches the result.
    this.task(mcp, 'asks_aside', 'required', async (extra, taskId) => {
      const _meta = { 'io.modelcontextprotocol/related-task': { taskId } };
      const request = { method: 'elicitation/create', params: { ...WHO, _meta } };
      const answering = mcp.server.request(request as never, ElicitResultSchema);
      await extra.taskStore.updateTaskStatus(taskId, 'input_required');
      return this.greet(extra, taskId, await answering);
    });
    this.task(mcp, 'reports', 'required', async (extra, taskId) => {
      const progressToken = extra._meta?.progressToken;
      await delay(50);
      if (progressToken !== undefined) {
        const params = { progressToken, progress: 1, total: 2 };
        const notice = { method: 'notifications/progress', params } as const;
        await mcp.server.notification(notice, { relatedTask: { taskId } });
      }
      await delay(150);
      return said('reported');
    });
    this.task(mcp, 'writes', 'required', async () => said(LONG_TEXT));
    mcp.registerTool('plain', {}, async () => said('plain is done'));
    return mcp;
  }

  private async ask(extra: CreateTaskRequestHandlerExtra, taskId: string): Promise<CallToolResult> {
    const request = { method: 'elicitation/create', params: WHO };
    const options = { relatedTask: { taskId } };
    return this.greet(
      extra,
      taskId,
      await extra.sendRequest(request as never, ElicitResultSchema, options as never),
    );
  }

  private async greet(
    extra: CreateTaskRequestHandlerExtra,
    taskId: string,
    answer: ElicitResult,
  ): Promise<CallToolResult> {
    this.answers.push(answer);
    await extra.taskStore.updateTaskStatus(taskId, 'working');
    return said(`Hello, ${String(answer.content?.name ?? answer.action)}!`);
  }

  private task(mcp: McpServer, name: string, taskSupport: 'required' | 'optional', work: Work): void {
    mcp.experimental.tasks.registerToolTask(
      name,
      { description: name, execution: { taskSupport } },
      {
        createTask: async (extra) => {
          const task = await extra.taskStore.createTask({
            ttl: extra.taskRequestedTtl,
            pollInterval: POLL_MS,
          });
          void work(extra, task.taskId)
            .catch((error: Error) => ({ ...said(error.message), isError: true }))
            .then((result) =>
              extra.taskStore.storeTaskResult(task.taskId, result.isError ? 'failed' : 'completed', result),
            )
            // The session is gone, or the task was cancelled.
            .catch(() => {});
          return { task };
        },
        getTask: (extra) => extra.taskStore.getTask(extra.taskId),
        getTaskResult: async (extra) => (await extra.taskStore.getTaskResult(extra.taskId)) as CallToolResult,
      },
    );
  }
}

function said(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}
