// The levels of the house, lowest first. A folder imports only from lower levels or from itself.
const levels = [
  ['base'],
  ['protocol', 'store', 'net', 'policy'],
  ['audit', 'results'],
  ['resources'],
  ['identity'],
  ['limits', 'freezes', 'vendors', 'pins'],
  ['oauth', 'upstream'],
  ['approvals'],
  ['gateway'],
  ['toolsets'],
  ['http'],
  ['app(-options|-door|-upstreams)?\\.ts$'],
  ['cli'],
];

const pathOf = (names) => `^src/(${names.map((name) => (name.includes('$') ? name : `${name}/`)).join('|')})`;

const levelRules = levels.flatMap((folders, level) =>
  folders.map((folder) => {
    const sameLevelSiblings = folders.filter((other) => other !== folder);
    const higher = levels.slice(level + 1).flat();
    return {
      name: `level-${folder.replace(/\W/g, '')}`,
      severity: 'error',
      comment: `${folder} imports only from lower levels or its own folder`,
      from: { path: pathOf([folder]) },
      to: { path: pathOf([...sameLevelSiblings, ...higher]) },
    };
  }),
).filter((rule) => rule.to.path !== '^src/()');

const PURE = '^src/(protocol|policy)/|^src/identity/decide\\.ts$';

module.exports = {
  forbidden: [
    ...levelRules,
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'pure-paths-do-no-io',
      severity: 'error',
      comment: 'parsers, policy and decisions take plain values',
      from: { path: PURE, pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|string_decoder)$' },
    },
    {
      name: 'only-store-imports-a-database-driver',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/store/|\\.test\\.ts$' },
      to: { path: '^(node:)?sqlite$|node_modules/pg/' },
    },
    {
      name: 'only-base-spawn-starts-processes',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/base/spawn|\\.test\\.ts$' },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'only-http-knows-hono',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/http/' },
      to: { path: 'node_modules/(hono|@hono)/' },
    },
    {
      name: 'codec-folders-are-imported-by-the-codec-table-alone',
      severity: 'error',
      from: { path: '^src', pathNot: '^src/protocol/wire/|\\.test\\.ts$' },
      to: { path: '^src/protocol/wire/(legacy|modern)/' },
    },
    {
      name: 'no-test-in-product',
      severity: 'error',
      from: { path: '^src', pathNot: '\\.test\\.ts$' },
      to: { path: '\\.test\\.ts$|^test/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
};
