/**
 * Looks for what a definition says to a model and not to whoever reads it: characters that nobody sees, comments, and
 * text that reads like instructions or asks for what is none of its business. It marks and never blocks: an honest
 * definition may talk of such things, and a hostile one may avoid these words. Every pattern is bounded, so that the
 * time grows with the text alone.
 */
import { hiddenIn, withHiddenShown, withoutHidden } from '../base/hidden-characters.ts';
import { isObject } from '../protocol/jsonrpc.ts';

export const FINDING_KINDS = [
  /** Characters that are not seen, or that change the order in which others are. */
  'hidden-characters',
  /** `<!--`, which a page hides and a model reads. */
  'comment',
  /** Reads like an order to the model. */
  'instructions',
  /** Names secrets, or has something sent away. */
  'exfiltration',
  /** There is more text than is looked at. */
  'unread',
] as const;
export type FindingKind = (typeof FINDING_KINDS)[number];

/** `at`: where in the definition, such as `inputSchema.properties.path.description`; `text`: fit to be shown. */
export type Finding = { kind: FindingKind; at: string; text: string };

/** Characters that are looked at, of one definition and of several together. */
const MAX_SCANNED = 256 * 1024;
const MAX_TOGETHER = 2 * 1024 * 1024;
const MAX_FINDINGS = 20;
const MAX_DEPTH = 64;
const MAX_PLACE = 200;
const MAX_CODES = 8;
const BEFORE = 20;
const AFTER = 100;

/** Tab, carriage return and the spaces of French and Japanese: in the way of nobody. */
const HARMLESS = /[\t\r\u00a0\u202f\u3000]/g;
/** Emoji are made of characters that are hidden elsewhere; they are looked for at the beginning of a text. */
const EMOJI = /\p{RGI_Emoji}/gv;
const MAX_WITH_EMOJI = 8 * 1024;
const MAX_HIDDEN = 100;
/** Text in which nothing can hide, as most is. */
const PLAIN = /^[\t\n\r\x20-\x7e]*$/;

const PHRASES: readonly { kind: FindingKind; pattern: RegExp }[] = [
  {
    kind: 'instructions',
    pattern:
      /\b(?:ignore|disregard|forget|override|bypass) (?:(?:all|any|the|your|these|those|of|my|other) ){0,3}(?:previous|prior|above|earlier|preceding|existing|system|safety)\b/,
  },
  {
    kind: 'instructions',
    pattern:
      /\b(?:do not|don't|never|must not|without) (?:tell|inform|mention|reveal|show|notify|alert|ask|disclos)[a-z]{0,4}\b.{0,40}\b(?:user|human|anyone|anybody|operator)\b/,
  },
  { kind: 'instructions', pattern: /<\/?(?:important|system|instructions?|secret|hidden|critical)\b/ },
  { kind: 'instructions', pattern: /\b(?:system prompt|developer message|hidden instructions?)\b/ },
  {
    kind: 'instructions',
    pattern: /\b(?:before|instead of) (?:using|calling|invoking|running) (?:any|all|every|other|another)\b/,
  },
  {
    kind: 'instructions',
    pattern: /\b(?:you must|always) (?:first )?(?:call|use|invoke|run) this tool\b|\byou are now\b/,
  },
  {
    kind: 'exfiltration',
    pattern:
      /\/\.ssh\b|\bid_(?:rsa|ed25519|ecdsa)\b|\/etc\/(?:passwd|shadow)\b|\.aws\/credentials|\bmcp\.json\b/,
  },
  {
    kind: 'exfiltration',
    pattern:
      /\b(?:send|post|upload|forward|transmit|exfiltrate|leak|append|attach)\b.{0,60}(?:https?:|\b(?:conversation|chat history|previous messages|api keys?|credentials|passwords?|private keys?|access tokens?)\b)/,
  },
  { kind: 'exfiltration', pattern: /!\[[^\]]{0,60}\]\(https?:/ },
];

/** How many characters may still be looked at: for many definitions together where they share one. */
export type Room = { left: number };

export function newRoom(): Room {
  return { left: MAX_TOGETHER };
}

/** What stands out in a definition; keys count as much as values. */
export function findingsIn(definition: unknown, room = newRoom()): Finding[] {
  const findings: Finding[] = [];
  let left = Math.min(MAX_SCANNED, room.left);
  const stop = (at: string) => {
    left = 0;
    findings.push({ kind: 'unread', at, text: 'the definition goes on from here' });
  };
  const look = (text: string, at: string) => {
    for (const found of findingsInText(text.slice(0, left))) findings.push({ ...found, at });
    room.left -= Math.min(text.length, left);
    left -= text.length;
    if (left <= 0) stop(at);
  };
  const walk = (value: unknown, at: string, depth: number): void => {
    if (findings.length >= MAX_FINDINGS || left <= 0) return;
    if (depth > MAX_DEPTH) stop(at);
    else if (typeof value === 'string') look(value, at);
    else if (Array.isArray(value))
      for (const [index, one] of value.entries()) walk(one, `${at}[${index}]`, depth + 1);
    else if (isObject(value)) {
      for (const [key, one] of Object.entries(value)) {
        const place = placeOf(at, key);
        if (left > 0) look(key, place);
        walk(one, place, depth + 1);
      }
    }
  };
  if (left > 0) walk(definition, '', 0);
  else stop('');
  return findings.slice(0, MAX_FINDINGS);
}

/** The kinds of these findings, each once. */
export function kindsOf(findings: readonly Finding[]): FindingKind[] {
  return FINDING_KINDS.filter((kind) => findings.some((one) => one.kind === kind));
}

function findingsInText(text: string): Omit<Finding, 'at'>[] {
  const found: Omit<Finding, 'at'>[] = [];
  const isPlain = PLAIN.test(text);
  const codes = isPlain ? [] : hiddenCodes(text);
  if (codes.length > 0) {
    const more = codes.length >= MAX_HIDDEN ? ' or more' : '';
    const shown = [...new Set(codes)].slice(0, MAX_CODES).join(' ');
    found.push({ kind: 'hidden-characters', text: `${codes.length}${more} of them: ${shown}` });
  }
  const comment = text.indexOf('<!--');
  if (comment >= 0) found.push({ kind: 'comment', text: excerpt(text, comment) });
  const read = asRead(text, isPlain);
  for (const { kind, pattern } of PHRASES) {
    const at = pattern.exec(read)?.index;
    if (at !== undefined && !found.some((one) => one.kind === kind))
      found.push({ kind, text: excerpt(read, at) });
  }
  return found;
}

function hiddenCodes(text: string): string[] {
  if (hiddenIn(text, 1).length === 0) return [];
  const withoutEmoji = text.slice(0, MAX_WITH_EMOJI).replace(EMOJI, '') + text.slice(MAX_WITH_EMOJI);
  return hiddenIn(withoutEmoji.replace(HARMLESS, ''), MAX_HIDDEN);
}

/** As a model reads it, whatever was put between the letters: lower case, one space a gap. */
function asRead(text: string, isPlain: boolean): string {
  const even = isPlain
    ? text
    : withoutHidden(text.replace(HARMLESS, ' ').normalize('NFKC').slice(0, MAX_SCANNED));
  return even.toLowerCase().replaceAll('’', "'").replace(/\s+/g, ' ');
}

function excerpt(text: string, at: number): string {
  return withHiddenShown(text.slice(Math.max(0, at - BEFORE), at + AFTER).replace(/\s+/g, ' '));
}

function placeOf(at: string, key: string): string {
  const place = at === '' ? key : `${at}.${key}`;
  return withHiddenShown(place.replace(/\s+/g, ' ')).slice(0, MAX_PLACE);
}
