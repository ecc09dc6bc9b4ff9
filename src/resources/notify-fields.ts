import { z } from 'zod';
import type { NoticeTarget } from '../policy/policy.ts';
import { endpointFault } from './endpoint-url.ts';
import { expandText, secretReferences } from './expansion.ts';
import { keysOnly, type Problem, textThat } from './problems.ts';
import { duration, quantityFault } from './quantities.ts';

export const NOTIFY = keysOnly({
  url: textThat((value) => (value.includes('${') ? placeholderFault(value) : endpointFault(value))),
  secret: textThat(secretFault).optional(),
  format: z.enum(['webhook', 'ntfy', 'slack']).optional(),
  remind: textThat((value) => quantityFault(duration, value, '1m', '30d')).optional(),
});

type NotifyFields = z.infer<typeof NOTIFY>;

/** What is wrong with the parts of `notify` taken together; `base` is where it stands. */
export function notifyProblems(notify: NotifyFields, base: Problem['path'], expiresMs: number): Problem[] {
  const problems: Problem[] = [];
  const wrong = (field: keyof NotifyFields, message: string) =>
    problems.push({ path: [...base, field], message });
  const { url, secret, format = 'webhook' } = notify;
  if (format === 'webhook' && secret === undefined)
    wrong('secret', `is missing: it signs what is sent; put one in a secret and write \${secret:NAME.KEY}`);
  if (format === 'slack' && secret !== undefined)
    wrong('secret', 'has no meaning for Slack, where the address is the secret: remove it');
  if (format === 'slack' && secretReferences(url).length === 0)
    wrong('url', `lets whoever reads it write to the channel: put it in a secret, \${secret:NAME.KEY}`);
  if (format === 'ntfy' && !url.includes('${') && ntfyTopic(url) === undefined)
    wrong('url', 'names no topic: write the address of the topic, such as https://ntfy.sh/TOPIC');
  if ((noticeTarget(notify).remindMs ?? 0) >= expiresMs)
    wrong('remind', 'is not shorter than expires: nobody would be reminded');
  return problems;
}

export function noticeTarget({ url, secret, format = 'webhook', remind }: NotifyFields): NoticeTarget {
  const remindMs = remind === undefined ? undefined : duration.parse(remind);
  return {
    url,
    format,
    ...(secret !== undefined && { secret }),
    ...(remindMs !== undefined && { remindMs }),
  };
}

/** The server and the topic that the address of a topic means; ntfy is always at the root of its host. */
export function ntfyTopic(address: string): { server: string; topic: string } | undefined {
  const url = URL.parse(address);
  const [, topic] = /^\/([-_A-Za-z0-9]{1,64})$/.exec(url?.pathname ?? '') ?? [];
  return url && topic !== undefined && url.search === '' ? { server: `${url.origin}/`, topic } : undefined;
}

function secretFault(value: string): string | undefined {
  if (secretReferences(value).length === 0)
    return `is written in plain text: put it in a secret, \${secret:NAME.KEY}`;
  return placeholderFault(value);
}

/** A policy stands where no variables are: of the placeholders only those of secrets mean something. */
function placeholderFault(value: string): string | undefined {
  const only = `nothing but \${secret:NAME.KEY} stands for something here: write that`;
  const { errors } = expandText(value, {
    env: undefined,
    builtin: () => ({ error: only }),
    secret: (_name, _key, raw) => ({ value: raw }),
  });
  return errors.length === 0 ? undefined : only;
}
