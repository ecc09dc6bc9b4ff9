import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mintCredential } from './ids.ts';
import { createLogger, withoutCredentials } from './logger.ts';

function recorded(readable: boolean) {
  const lines: string[] = [];
  const logger = createLogger({
    level: 'debug',
    readable,
    destination: { write: (line) => lines.push(line) },
  });
  return { logger, lines };
}

describe('logger', () => {
  it('writes one JSON object a line, with time and level by name', () => {
    const { logger, lines } = recorded(false);
    logger.info({ server: 'github' }, 'connected');
    assert.equal(lines.length, 1);
    const line = JSON.parse(lines[0] ?? '');
    assert.equal(line.level, 'info');
    assert.equal(line.server, 'github');
    assert.equal(line.msg, 'connected');
    assert.ok(!Number.isNaN(Date.parse(line.time)));
    assert.ok(lines[0]?.endsWith('\n'));
  });

  it('keeps credentials out, by field name and by shape, at any depth, in both forms', () => {
    for (const readable of [false, true]) {
      const { logger, lines } = recorded(readable);
      const raw = mintCredential('pat');
      logger.info({ token: 'hunter2', headers: { authorization: 'Bearer hunter2' } }, `used ${raw}`);
      logger.error(
        { error: new Error(`postgres://bob:hunter2@db/x refused; Authorization: Bearer hunter2`) },
        'x',
      );
      logger.warn({ deep: { er: { and: { deeper: [`x ${raw} y`] } } } }, 'x');
      const text = lines.join('');
      assert.equal(lines.length, 3);
      assert.ok(!text.includes('hunter2'), text);
      assert.ok(!text.includes(raw.slice(8)), text);
      assert.ok(text.includes('cst_pat_[redacted]'));
    }
  });

  it('leaves ordinary text alone', () => {
    const text = 'basic auth failed at https://example.com/a@b for bearer x';
    assert.equal(withoutCredentials(text), text);
  });

  it('writes a readable line that cannot repaint the terminal or forge another line', () => {
    const { logger, lines } = recorded(true);
    logger.warn({ server: 'a b', count: 2 }, 'hello\u001b[31m\nworld');
    assert.match(
      lines[0] ?? '',
      /^\d\d:\d\d:\d\d WARN {2}hello\\u001b\[31m\\u000aworld {2}server="a b" {2}count=2\n$/,
    );
    logger.error({ error: new Error('broken') }, 'it failed');
    assert.match(lines[1] ?? '', /ERROR it failed {2}broken\n$/);
  });

  it('is silent below its level', () => {
    const lines: string[] = [];
    createLogger({ level: 'warn', destination: { write: (line) => lines.push(line) } }).info('no');
    assert.deepEqual(lines, []);
  });
});
