import type { Caller } from './callers.ts';
import { type Line, padded, plainText, span } from './lines.ts';
import type { State } from './model.ts';
import { fit, shown } from './screen-text.ts';

const LINES_EACH = 2;

/** Who acts, the one seen last first: two lines each, of exactly `width` cells. */
export function sessionLines(state: State, width: number, rows: number): Line[] {
  const { callers, selectedCaller, focus } = state;
  const open = callers.reduce((sum, { sessions }) => sum + sessions.size, 0);
  const lines: Line[] = [padded([span(`SESSIONS ${open} open`, 'dim')], width)];
  const at = callers.findIndex(({ key }) => key === selectedCaller);
  const room = Math.max(1, Math.floor((rows - 1) / LINES_EACH));
  const cursor = focus === 'sessions' ? Math.max(0, at) : 0;
  const top = Math.max(0, Math.min(cursor - Math.floor(room / 2), callers.length - room));
  for (const [index, caller] of callers.slice(top, top + room).entries()) {
    const isCursor = focus === 'sessions' && top + index === at;
    lines.push(...callerLines(caller, width, isCursor));
  }
  if (callers.length === 0) lines.push(padded([span('nobody yet', 'dim')], width));
  return lines;
}

function callerLines(caller: Caller, width: number, isCursor: boolean): Line[] {
  const { user, token, project, lastSeen, sessions } = caller;
  const isOpen = sessions.size > 0;
  const who = shown([token, user, project].filter((name) => name !== undefined).join(' '));
  const marker = isCursor ? '▸' : isOpen ? '●' : '○';
  const first = padded([span(marker, isOpen ? 'good' : 'dim'), span(` ${fit(who, width - 2)}`)], width);
  const time = lastSeen.slice(11, 19);
  const second = padded([span(`  ${fit(clientsOf(caller), width - 11)} ${time}`, 'dim')], width);
  return isCursor ? [first, second].map((line): Line => [span(plainText(line), 'bar')]) : [first, second];
}

/** The client of the newest session, and how many there are. */
function clientsOf({ sessions }: Caller): string {
  const newest = [...sessions.values()].at(-1);
  if (newest === undefined) return 'seen';
  return sessions.size === 1 ? shown(newest) : `${sessions.size}× ${shown(newest)}`;
}
