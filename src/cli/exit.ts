import { messageOf, Refusal, type RefusalKind } from '../base/errors.ts';

/** What the process answers with (sysexits.h for those above 2). `test mcp` and `call` give 2 its own meaning. */
export const Exit = {
  ok: 0,
  failed: 1,
  /** `test mcp`: the endpoint answers, but not as asked. `call`: the tool said `isError`. `diff`: a difference. */
  contract: 2,
  usage: 64,
  unreachable: 69,
  notPermitted: 77,
} as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];

/** Ends a command with a sentence on stderr and this exit code. An empty sentence: everything is said already. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
  }
}

export const usage = (message: string): CommandFailure => new CommandFailure(Exit.usage, message);
export const failed = (message: string): CommandFailure => new CommandFailure(Exit.failed, message);

const BY_REFUSAL: Readonly<Record<RefusalKind, ExitCode>> = {
  invalid: Exit.failed,
  unauthenticated: Exit.notPermitted,
  forbidden: Exit.notPermitted,
  not_found: Exit.failed,
  conflict: Exit.failed,
  unavailable: Exit.unreachable,
};

/** The exit code and the sentence of anything a command throws. */
export function outcomeOf(error: unknown): { exitCode: ExitCode; message: string } {
  if (error instanceof CommandFailure) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof Refusal) return { exitCode: BY_REFUSAL[error.kind], message: error.message };
  return { exitCode: Exit.failed, message: messageOf(error) };
}
