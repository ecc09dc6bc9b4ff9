import type { JsonObject, JsonRpcRequest } from '../protocol/jsonrpc.ts';
import type { Implementation, NeutralOutcome, Written } from '../protocol/model.ts';
import type { Era } from '../protocol/revisions.ts';
import { rewrite } from '../protocol/rewrite.ts';
import { codecs } from '../protocol/wire/table.ts';

/** Turns outcomes into the text of one era's answer; the text of a result that serves many is kept with it. */
export class AnswerWriter {
  private readonly self: Implementation;
  private readonly kept: Record<Era, WeakMap<JsonObject, string>> = {
    legacy: new WeakMap(),
    modern: new WeakMap(),
  };

  constructor(self: Implementation) {
    this.self = self;
  }

  write(
    era: Era,
    { id, method }: JsonRpcRequest,
    outcome: NeutralOutcome & { reusable?: boolean },
  ): { status: number; text: string } {
    const codec = codecs[era];
    if (!outcome.ok) {
      const error = codec.encodeError(method, outcome.error);
      return { status: codec.errorStatus(error.code), text: JSON.stringify({ jsonrpc: '2.0', id, error }) };
    }
    const result = outcome.reusable
      ? this.reused(era, method, outcome.result)
      : this.encoded(era, method, outcome.result, outcome.written);
    return { status: 200, text: `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}` };
  }

  private reused(era: Era, method: string, result: JsonObject): string {
    const known = this.kept[era].get(result);
    if (known !== undefined) return known;
    const text = this.encoded(era, method, result, undefined);
    this.kept[era].set(result, text);
    return text;
  }

  /** What does not have to change in a result travels on as it came. */
  private encoded(era: Era, method: string, result: JsonObject, written: Written | undefined): string {
    const encoded = codecs[era].encodeResult(method, result, this.self);
    if (!written) return JSON.stringify(encoded);
    return written.result === encoded ? written.text : rewrite(written, encoded);
  }
}
