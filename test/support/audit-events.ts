import type { RecordedEvent } from '../../src/audit/row.ts';

/** All that a name can try on a terminal: colours, cursor, title, clipboard, bell, a wide and a hidden character. */
export const HOSTILE_NAME =
  'evil__\x1b[31mred\x1b[13;37H\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x07\r\b\x9b5A\u202etxt.exe\u2066\u200b\u3164漢字🎈';

/** A short day of a small team, oldest first. */
export function sampleEvents(): RecordedEvent[] {
  const anna = { actor: 'token', user: 'anna@example.org', token: 'laptop', project: 'demo' };
  const bot = { actor: 'token', user: 'build-bot', token: 'ci', project: 'release' };
  const call = { event: 'tool.call', surface: 'consumer', address: '127.0.0.1' };
  const rows: Omit<RecordedEvent, 'id' | 'at'>[] = [
    { event: 'server.started', outcome: 'ok', actor: 'castellan', detail: { version: '0.1.0' } },
    { event: 'auth.failed', outcome: 'refused', actor: 'stranger', detail: { count: 3, reason: 'unknown' } },
    {
      ...anna,
      event: 'session.started',
      outcome: 'ok',
      surface: 'consumer',
      detail: { session: 's1', revision: '2025-11-25', client: 'editor' },
    },
    { ...anna, ...call, outcome: 'ok', server: 'github', tool: 'github__get_issue', durationMs: 141 },
    { ...anna, ...call, outcome: 'tool_error', server: 'github', tool: 'github__merge', durationMs: 12 },
    {
      ...bot,
      event: 'session.started',
      outcome: 'ok',
      detail: { session: 's2', client: '\x1b]0;owned\x07runner' },
    },
    { ...bot, event: 'session.ended', outcome: 'ok', detail: { session: 's2' } },
    {
      ...bot,
      ...call,
      outcome: 'refused',
      tool: HOSTILE_NAME,
      durationMs: 0,
      trace: '4bf92f3577b34da6a3ce929d0e0e4736',
      detail: { rpcCode: -32602, arguments: { path: '\u202e/etc', text: 'a\nb' } },
    },
  ];
  return rows.map((row, index) => ({
    id: `ach_sample.${index + 1}`,
    at: new Date(Date.UTC(2026, 10, 21, 14, 2, index)).toISOString(),
    ...row,
  }));
}
