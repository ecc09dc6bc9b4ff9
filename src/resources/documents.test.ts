import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BUILTIN_TOOLSETS } from './builtin-toolsets.ts';
import { parseFile } from './documents.ts';
import { describeProblem } from './problems.ts';

const problemsIn = (text: string, file = 'f.yaml') => parseFile(file, text).problems.map(describeProblem);
const open = '${';

const SERVER = 'kind: Server\nmetadata: { name: a }\nspec:\n';

describe('configuration files', () => {
  it('read several YAML documents, with the line of each', () => {
    const text = `# first\n${SERVER}  command: npx\n---\n---\nkind: project\nmetadata: { name: p }\nspec: { servers: [a] }\n`;
    const { objects, problems } = parseFile('f.yaml', text);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      objects.map(({ kind, name, line, spec }) => ({ kind, name, line, spec })),
      [
        { kind: 'Server', name: 'a', line: 2, spec: { command: 'npx' } },
        { kind: 'Project', name: 'p', line: 8, spec: { servers: ['a'] } },
      ],
    );
  });

  it('read JSON: one object, a list, and what `get -o json` prints', () => {
    const object = {
      apiVersion: 'castellan/v1',
      kind: 'Server',
      metadata: { name: 'a', uid: 'u' },
      spec: { url: 'http://x/' },
    };
    for (const value of [object, [object], { items: [object] }]) {
      const { objects, problems } = parseFile('f.json', JSON.stringify(value, null, '\t'));
      assert.deepEqual(problems, []);
      assert.deepEqual(objects[0]?.spec, { url: 'http://x/' });
    }
  });

  const faults: [string, string, string][] = [
    [
      'an unknown key',
      `${SERVER}  ulr: http://x/\n  command: x\n`,
      'f.yaml:4: spec.ulr: unknown key: did you mean url?',
    ],
    [
      'an unknown nested key',
      `${SERVER}  url: http://x/\n  lifecycle:\n    idleTimout: 3s\n`,
      'f.yaml:6: spec.lifecycle.idleTimout: unknown key: did you mean idleTimeout?',
    ],
    [
      'a number for a text',
      `${SERVER}  command: x\n  args: [a, 8080]\n`,
      'f.yaml:5: spec.args[1]: must be text, not a number: put it in quotes',
    ],
    [
      'a duration without a unit',
      `${SERVER}  url: http://x/\n  lifecycle: { callTimeout: "60" }\n`,
      'f.yaml:5: spec.lifecycle.callTimeout: is no valid value: write a number and a unit (ms, s, m, h, d) such as 60s or 10m',
    ],
    [
      'a mistyped choice',
      `${SERVER}  url: http://x/\n  isolation: usr\n`,
      'f.yaml:5: spec.isolation: must be one of shared, user, session: use one of these',
    ],
    [
      'command beside url',
      `${SERVER}  url: http://x/\n  command: x\n`,
      'f.yaml:4: spec.url: cannot stand beside command: keep one of command, url',
    ],
    [
      'env beside url',
      `${SERVER}  url: http://x/\n  env: { A: b }\n`,
      'f.yaml:5: spec.env: has no meaning beside url: remove it',
    ],
    [
      'no target',
      `${SERVER}  prefix: never\n`,
      'f.yaml:3: spec: names no server: add command (stdio), url (HTTP) or builtin (a toolset)',
    ],
    [
      'a toolset',
      `${SERVER}  builtin: nothing\n`,
      `f.yaml:4: spec.builtin: is no toolset: use one of ${[...BUILTIN_TOOLSETS.keys()].join(', ')}`,
    ],
    [
      'a variable of ours for a child',
      `${SERVER}  command: x\n  env: { CASTELLAN_MASTER_KEY: b }\n`,
      'f.yaml:5: spec.env.CASTELLAN_MASTER_KEY: CASTELLAN_ variables never reach a server: use another name',
    ],
    [
      'a header of the transport',
      `${SERVER}  url: http://x/\n  headers: { Mcp-Session-Id: b }\n`,
      'f.yaml:5: spec.headers.Mcp-Session-Id: is set by Castellan itself: remove it',
    ],
    [
      'a password in a URL',
      `${SERVER}  url: http://u:p@x/\n`,
      'f.yaml:4: spec.url: contains a user or password: put the credential in headers',
    ],
    [
      '__proto__',
      `${SERVER}  command: x\n  env:\n    __proto__: x\n`,
      'f.yaml:6: spec.env.__proto__: is not a valid key: rename it',
    ],
    [
      'a repository without a whole path',
      'kind: Repository\nmetadata: { name: p }\nspec:\n  path: code\n',
      'f.yaml:4: spec.path: is not absolute: write the whole path of the repository',
    ],
    [
      'no kind',
      'metadata: { name: p }\n',
      'f.yaml:1: kind: is missing: add one of Policy, Secret, Server, Project, Group, User, Rbac, McpToken, OAuthClient, Repository',
    ],
    [
      'another apiVersion',
      `apiVersion: v1\n${SERVER}  command: x\n`,
      'f.yaml:1: apiVersion: is not known: write apiVersion: castellan/v1',
    ],
    [
      'a key twice',
      `${SERVER}  command: x\n  command: y\n`,
      'f.yaml:5: the same key appears twice: remove one of them',
    ],
    [
      'both surfaces',
      'kind: Project\nmetadata: { name: p }\nspec:\n  servers: [a]\n  operatorServers:\n    - b\n    - a\n',
      'f.yaml:7: spec.operatorServers[1]: a is on both surfaces: keep it in servers or in operatorServers',
    ],
    [
      'an unenforced default',
      'kind: Project\nmetadata: { name: p }\nspec: { defaultAction: approve }\n',
      'f.yaml:3: spec.defaultAction: approve is not available yet: use allow or deny',
    ],
    [
      'a bad lifetime',
      'kind: McpToken\nmetadata: { name: p }\nspec: { ttl: soon }\n',
      'f.yaml:3: spec.ttl: is no valid lifetime: write 30d, 12h, never or an ISO 8601 date',
    ],
    ['an empty file', '# nothing\n', 'f.yaml:1: the file is empty: write at least one object'],
  ];
  for (const [title, text, expected] of faults) {
    it(`refuse ${title}, with the line and the fix`, () => assert.deepEqual(problemsIn(text), [expected]));
  }

  it('point at the line of a syntax error, without quoting the file', () => {
    const [problem, ...others] = problemsIn('kind: Server\nspec: { headers: [s3cret\n---\n');
    assert.match(problem ?? '', /^f\.yaml:[23]: is not valid: .*: correct the syntax here$/);
    assert.doesNotMatch([problem, ...others].join(), /s3cret/);
  });

  it('report every problem of a file at once', () => {
    const text = `${SERVER}  command: ''\n---\nkind: Project\nmetadata: { name: P }\nspec: { server: [] }\n`;
    assert.deepEqual(
      problemsIn(text).map((line) => line.split(': ').slice(0, 2).join(': ')),
      ['f.yaml:4: spec.command', 'f.yaml:7: metadata.name', 'f.yaml:8: spec.server'],
    );
  });

  it('let a placeholder stand where its value is checked later', () => {
    const text = `${SERVER}  url: ${open}BASE}/mcp\n  lifecycle: { callTimeout: "${open}T:-60s}" }\n`;
    assert.deepEqual(problemsIn(text), []);
  });

  it('refuse aliases that multiply, deep nesting and huge files without falling over', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i++)
      bomb.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    assert.equal(problemsIn(bomb.join('\n')).length, 1);
    assert.deepEqual(problemsIn('['.repeat(50_000)), ['f.yaml:1: is nested too deeply: flatten it']);
    assert.deepEqual(problemsIn('x'.repeat(5 * 1024 * 1024)), [
      'f.yaml:1: the file is larger than 4 MiB: split it',
    ]);
  });

  it('take YAML only where it is announced', () => {
    const text = '{ "kind": "Server",\n "metadata": { "name": a } }';
    assert.deepEqual(problemsIn(text, 'f.json'), ['f.json:2: is not valid JSON: correct the syntax here']);
  });

  it('follow an alias to a line of the file', () => {
    const text = `kind: Server\nmetadata: { name: a }\nspec:\n  command: x\n  env: &env\n    A: 5\n---\n`;
    assert.deepEqual(problemsIn(text), [
      'f.yaml:6: spec.env.A: must be text, not a number: put it in quotes',
    ]);
  });
});

describe('client files', () => {
  it('give their servers, with comments, labels and keys of their own', () => {
    const text = `{
  // my servers
  "mcpServers": {
    "GitHub": { "command": "npx", "args": ["-y", "x"], "env": { "T": "${open}T}" }, "autoApprove": ["*"], },
    "web": { "type": "http", "url": "https://x.example/mcp", "headers": { "Authorization": "Bearer x" } },
    "old": { "command": "x", "disabled": true },
  },
  "theme": "dark"
}`;
    const { client, objects, problems, notices } = parseFile('claude.json', text);
    assert.deepEqual(problems, []);
    assert.equal(client, true);
    assert.deepEqual(
      objects.map(({ kind, name, line, spec }) => ({ kind, name, line, spec })),
      [
        {
          kind: 'Server',
          name: 'github',
          line: 4,
          spec: { command: 'npx', args: ['-y', 'x'], env: { T: `${open}T}` } },
        },
        {
          kind: 'Server',
          name: 'web',
          line: 5,
          spec: { url: 'https://x.example/mcp', headers: { Authorization: 'Bearer x' } },
        },
      ],
    );
    assert.deepEqual(notices.map(describeProblem), [
      'claude.json:4: mcpServers.GitHub: is called github here',
      'claude.json:4: mcpServers.GitHub.autoApprove: means something to the client alone: left out',
      'claude.json:6: mcpServers.old: is disabled there: left out',
    ]);
  });

  it('of VS Code are read, too', () => {
    const text = '{ "inputs": [{ "id": "k" }], "servers": { "a": { "type": "stdio", "command": "x" } } }';
    const { objects, problems } = parseFile('mcp.json', text);
    assert.deepEqual(problems, []);
    assert.deepEqual(objects[0]?.spec, { command: 'x' });
  });

  it('are refused with file, line and field', () => {
    const text = `{ "mcpServers": {
  "a": { "command": 5 },
  "b": 3,
  "c": { "args": [] },
  "d": { "command": "x", "envFile": ".env" },
  "My A": { "command": "x" },
  "my-a": { "command": "x" }
} }`;
    assert.deepEqual(problemsIn(text, 'c.json'), [
      'c.json:3: mcpServers.b: must be a mapping: write command or url below it',
      'c.json:5: mcpServers.d.envFile: is not read: write its variables into env',
      'c.json:7: mcpServers.my-a: becomes my-a, like "My A": rename one of them',
      'c.json:2: mcpServers.a.command: must be text, not a number: put it in quotes',
      'c.json:4: mcpServers.c: names no server: add command (stdio), url (HTTP) or builtin (a toolset)',
    ]);
  });
});
