/**
 * Looks for what a definition says to a model and not to whoever reads it: characters that nobody sees, comments, and
 * text that reads like instructions or asks for what is none of its business. It marks and never blocks: an honest
 * definition may talk of such things, and a hostile one may avoid these words. Every pattern is bounded, so that the
 * time grows with the text alone.
 */
import { textParts, withHiddenShown } from '../base/hidden-characters.ts';
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

/** Characters of one definition that are looked at. */
const MAX_SCANNED = 256 * 1024;
const MAX_FINDINGS = 20;
const MAX_DEPTH = 64;
const MAX_PLACE = 200;
const MAX_CODES = 8;
const BEFORE = 20;
const AFTER = 100;

/** Tab, carriage return and the spaces of French and Japanese: in the way of nobody. */
const HARMLESS = new Set(['U+0009', 'U+000D', 'U+00A0', 'U+202F', 'U+3000']);
/** Emoji are made of characters that are hidden elsewhere. */
const EMOJI = /\p{RGI_Emoji}/gv;

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
  { kind: 'exfiltration', pattern: /!\[[^\]]{0,100}\]\(https?:/ },
];

/** What stands out in a definition; keys count as much as values. */
export function findingsIn(definition: unknown): Finding[] {
  const findings: Finding[] = [];
  let left = MAX_SCANNED;
  const stop = (at: string) => {
    left = 0;
    findings.push({ kind: 'unread', at, text: 'the definition goes on from here' });
  };
  const look = (text: string, at: string) => {
    for (const found of findingsInText(text.slice(0, left))) findings.push({ ...found, at });
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
  walk(definition, '', 0);
  return findings.slice(0, MAX_FINDINGS);
}

/** The kinds of these findings, each once. */
export function kindsOf(findings: readonly Finding[]): FindingKind[] {
  return FINDING_KINDS.filter((kind) => findings.some((one) => one.kind === kind));
}

function findingsInText(text: string): Omit<Finding, 'at'>[] {
  const found: Omit<Finding, 'at'>[] = [];
  const codes = hiddenCodes(text);
  if (codes.length > 0) {
    const shown = [...new Set(codes)].slice(0, MAX_CODES).join(' ');
    found.push({ kind: 'hidden-characters', text: `${codes.length} of them: ${shown}` });
  }
  const comment = text.indexOf('<!--');
  if (comment >= 0) found.push({ kind: 'comment', text: excerpt(text, comment) });
  const plain = plainText(text);
  for (const { kind, pattern } of PHRASES) {
    const at = pattern.exec(plain)?.index;
    if (at !== undefined && !found.some((one) => one.kind === kind))
      found.push({ kind, text: excerpt(plain, at) });
  }
  return found;
}

function hiddenCodes(text: string): string[] {
  return textParts(text.replace(EMOJI, '')).flatMap((part) =>
    'hidden' in part && !HARMLESS.has(part.hidden) ? [part.hidden] : [],
  );
}

/** As a model reads it, whatever was put between the letters: lower case, one space a gap. */
function plainText(text: string): string {
  const seen = textParts(text.normalize('NFKC'))
    .map((part) => ('text' in part ? part.text : HARMLESS.has(part.hidden) ? ' ' : ''))
    .join('');
  return seen.toLowerCase().replaceAll('’', "'").replace(/\s+/g, ' ');
}

function excerpt(text: string, at: number): string {
  return withHiddenShown(text.slice(Math.max(0, at - BEFORE), at + AFTER).replace(/\s+/g, ' '));
}

function placeOf(at: string, key: string): string {
  const place = at === '' ? key : `${at}.${key}`;
  return withHiddenShown(place.replace(/\s+/g, ' ')).slice(0, MAX_PLACE);
}
