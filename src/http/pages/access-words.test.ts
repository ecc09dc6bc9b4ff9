import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { InteractionClient } from '../../oauth/interactions.ts';
import { formTargets, requestWords, shownName } from './access-words.ts';

const client = (more: Partial<InteractionClient> = {}): InteractionClient => ({
  id: 'https://app.example.com/client.json',
  name: 'App',
  source: 'metadata-document',
  redirectHost: 'app.example.com',
  localOnly: false,
  privateScheme: false,
  ...more,
});

describe('a client as people see it', () => {
  it('has a name of one short line, without what cannot be seen', () => {
    for (const [name, shown] of [
      ['App', 'App'],
      [' A\n\tb  c ', 'A b c'],
      ['\u202eevil\u200b\u0000', 'evil'],
      ['\u2028', 'A client without a name'],
      ['x'.repeat(10_000), `${'x'.repeat(80)}…`],
      ['🏰'.repeat(100), `${'🏰'.repeat(80)}…`],
    ] as const)
      assert.equal(shownName(name), shown);
  });

  it('leads a form no further than its own redirect', () => {
    for (const [more, targets] of [
      [{}, ['https:']],
      [{ localOnly: true, redirectHost: '127.0.0.1:4711' }, ['http://127.0.0.1:4711']],
      [{ localOnly: true, redirectHost: '[::1]:4711' }, ['http:']],
      [{ privateScheme: true, redirectHost: 'com.example.app:' }, ['com.example.app:']],
      [{ privateScheme: true, redirectHost: "x; script-src 'unsafe-inline':" }, []],
    ] as const)
      assert.deepEqual(formTargets(client(more)), targets);
  });

  it('is warned of where nobody can vouch for it, and its words are text', async () => {
    const access = { project: 'demo', surfaces: ['consumer'], scopes: ['mcp'] } as const;
    const words = async (more: Partial<InteractionClient>) =>
      String(await requestWords(client(more), access));
    assert.doesNotMatch(await words({}), /class="note warn"/);
    assert.match(
      await words({ source: 'dynamic' }),
      /nobody has checked its name[\s\S]*that is who gets the access/,
    );
    assert.match(await words({ localOnly: true }), /every program here could say/);
    assert.match(await words({ privateScheme: true }), /could have taken/);
    assert.doesNotMatch(
      await words({ id: '<b>', name: '<b>', redirectHost: '<b>', source: 'dynamic' }),
      /<b>/,
    );
  });
});
