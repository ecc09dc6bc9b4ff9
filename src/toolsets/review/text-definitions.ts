const KEYWORDS =
  'function|func|fun|fn|def|sub|proc|procedure|class|interface|struct|enum|union|trait|protocol|object|record|type|typedef|module|namespace|package|macro|const|let|var|val';
const DEFINITION = new RegExp(
  `^\\s*(?:[\\w@#().<>\\[\\]]+\\s+){0,5}?(${KEYWORDS})\\s+\\*?(?:\\([^)]*\\)\\s*)?([A-Za-z_$][\\w$]*)`,
);
const MAX_LOOKED_AT = 400;

/** What a line seems to define, where nothing has parsed it; undefined when it looks like none. */
export function definedOn(line: string): { kind: string; name: string } | undefined {
  const [, kind, name] = DEFINITION.exec(line.slice(0, MAX_LOOKED_AT)) ?? [];
  return kind === undefined || name === undefined ? undefined : { kind, name };
}
