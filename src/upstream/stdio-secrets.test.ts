import assert from 'node:assert/strict';
import { it } from 'node:test';
import { secretHider } from './stdio-secrets.ts';

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
