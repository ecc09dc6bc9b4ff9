import assert from 'node:assert/strict';
import { it } from 'node:test';
import { secretHider } from './secret-hider.ts';

it('hides the values of variables and arguments that sound secret, longest first, and nothing else', () => {
  const hide = secretHider({
    env: {
      API_KEY: 'abcdef',
      OTHER_TOKEN: 'abcdef-long',
      NODE_ENV: 'production',
      SHORT_KEY: 'on',
      EMPTY_KEY: '',
    },
    args: ['--token', 'tok-123456', '--api-key=key-$&-1', '--root', '/srv/folder', '--password'],
  });
  assert.equal(
    hide('abcdef-long abcdef tok-123456 key-$&-1 /srv/folder production on'),
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the replacement is the variable's name as a reader writes it
    '${OTHER_TOKEN} ${API_KEY} ••• ••• /srv/folder production on',
  );
});

it('hides a declared secret in every usual form, line by line, and where the text was cut', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder as a configuration has it
  const shown = '${secret:s.k}';
  const value = 'PIN "4711"\nsecond line';
  const hide = secretHider({ env: { HARMLESS: value }, args: [value] }, new Map([[value, shown]]));
  for (const form of [
    value,
    'PIN "4711"',
    'second line',
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    Buffer.from(value).toString('base64'),
    'PIN "47',
  ])
    assert.equal(hide(`told: ${form}`), `told: ${shown}`);
  assert.equal(hide('told: PIN'), 'told: PIN');
  assert.equal(secretHider({ env: {}, args: [] }, new Map([['abc', shown]]))('abc'), 'abc');
});
