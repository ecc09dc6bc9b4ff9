import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandFailure } from './exit.ts';
import { type ServeFlags, serveSettings } from './serve-settings.ts';

test('a flag wins over its variable, and a variable over the default', () => {
  const env = {
    CASTELLAN_PORT: '7500',
    CASTELLAN_HOST: 'localhost',
    CASTELLAN_DATA_DIR: '/data',
    CASTELLAN_LOG_LEVEL: '',
  };
  const settings = serveSettings({ port: '0', config: ['a', 'b'] }, env);
  assert.deepEqual(
    [settings.port, settings.host, settings.dataDir, settings.logLevel, settings.configFiles],
    [0, 'localhost', '/data', 'info', ['a', 'b']],
  );
  const defaults = serveSettings({}, {});
  assert.deepEqual(
    [defaults.port, defaults.host, defaults.dataDir, defaults.graceMs],
    [7400, '127.0.0.1', './.castellan', 20_000],
  );
});

test('lists and URLs are brought into one form', () => {
  const settings = serveSettings(
    { publicUrl: 'https://MCP.example.com/', host: '0.0.0.0', grace: '1m' },
    {
      CASTELLAN_TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.7,::1',
      CASTELLAN_ALLOWED_ORIGINS: 'https://a.example.com/, http://localhost:3000',
      CASTELLAN_DATABASE_URL: 'postgres://u:p@db/castellan',
    },
  );
  assert.equal(settings.publicUrl, 'https://mcp.example.com');
  assert.deepEqual(settings.trustedProxies, ['10.0.0.0/8', '192.0.2.7/32', '::1/128']);
  assert.deepEqual(settings.allowedOrigins, ['https://a.example.com', 'http://localhost:3000']);
  assert.equal(settings.graceMs, 60_000);
  assert.equal(settings.auditRetentionMs, 90 * 86_400_000);
  assert.equal(settings.accessTokenTtlMs, 86_400_000);
  assert.equal(serveSettings({}, { CASTELLAN_ACCESS_TOKEN_TTL: '90m' }).accessTokenTtlMs, 5_400_000);
  assert.equal(serveSettings({}, { CASTELLAN_AUDIT_RETENTION: '1.5h' }).auditRetentionMs, 5_400_000);
  assert.equal(serveSettings({}, { CASTELLAN_AUDIT_RETENTION: 'forever' }).auditRetentionMs, Infinity);
});

test('clients register themselves only where nobody else can reach the server', () => {
  const registers = (flags: ServeFlags, env = {}) => serveSettings(flags, env).clientRegistration;
  assert.equal(registers({}), true);
  assert.equal(registers({ publicUrl: 'http://localhost:7400' }), true);
  assert.equal(registers({ publicUrl: 'https://mcp.example.com' }), false);
  assert.equal(registers({ host: '0.0.0.0', publicUrl: 'https://mcp.example.com' }), false);
  assert.equal(registers({ host: '0.0.0.0', insecureHttp: true }), false);
  assert.equal(registers({}, { CASTELLAN_CLIENT_REGISTRATION: 'off' }), false);
  assert.equal(
    registers({ publicUrl: 'https://mcp.example.com' }, { CASTELLAN_CLIENT_REGISTRATION: 'on' }),
    true,
  );
});

test('the hosts of client documents are names, or origins that may lie anywhere', () => {
  const hosts = (text: string) => serveSettings({}, { CASTELLAN_CLIENT_METADATA_HOSTS: text }).documentHosts;
  assert.deepEqual(hosts(''), { names: ['*'], origins: [] });
  assert.equal(hosts('none'), undefined);
  assert.deepEqual(hosts('*.example.com, https://Clients.internal:8443/'), {
    names: ['*.example.com'],
    origins: ['https://clients.internal:8443'],
  });
});

test('every wrong value names its flag or variable, and never the password in it', () => {
  const cases: [ServeFlags, Record<string, string>, RegExp][] = [
    [{ port: '65536' }, {}, /--port "65536"/],
    [{ port: '' }, {}, /--port is empty/],
    [{}, { CASTELLAN_PORT: '-1' }, /CASTELLAN_PORT "-1"/],
    [{ host: '192.168.1.1' }, {}, /--host 192\.168\.1\.1 is reachable/],
    [{ host: '::' }, { CASTELLAN_PUBLIC_URL: 'http://example.com' }, /--insecure-http/],
    [{ publicUrl: 'mcp.example.com' }, {}, /--public-url "mcp\.example\.com"/],
    [{}, { CASTELLAN_PUBLIC_URL: 'https://u:p@example.com' }, /CASTELLAN_PUBLIC_URL/],
    [{}, { CASTELLAN_TRUSTED_PROXIES: 'everyone' }, /CASTELLAN_TRUSTED_PROXIES: "everyone"/],
    [{}, { CASTELLAN_CLIENT_REGISTRATION: 'yes' }, /CASTELLAN_CLIENT_REGISTRATION "yes"/],
    [{}, { CASTELLAN_CLIENT_METADATA_HOSTS: 'http://a.example' }, /CASTELLAN_CLIENT_METADATA_HOSTS/],
    [{}, { CASTELLAN_CLIENT_METADATA_HOSTS: 'https://a.example/x' }, /CASTELLAN_CLIENT_METADATA_HOSTS/],
    [{}, { CASTELLAN_NOTIFY_ORIGINS: 'ntfy.lan' }, /CASTELLAN_NOTIFY_ORIGINS: "ntfy\.lan" is no origin/],
    [{}, { CASTELLAN_ALLOWED_ORIGINS: '*' }, /CASTELLAN_ALLOWED_ORIGINS: "\*"/],
    [{}, { CASTELLAN_ALLOWED_ORIGINS: 'https://a.example.com/path' }, /CASTELLAN_ALLOWED_ORIGINS/],
    [
      {},
      { CASTELLAN_DATABASE_URL: 'mysql://u:hunter2@db' },
      /CASTELLAN_DATABASE_URL must start with postgres/,
    ],
    [{}, { CASTELLAN_LOG_LEVEL: 'loud' }, /CASTELLAN_LOG_LEVEL "loud"/],
    [{ grace: '2h' }, {}, /--grace "2h"/],
    [{}, { CASTELLAN_ACCESS_TOKEN_TTL: '31d' }, /CASTELLAN_ACCESS_TOKEN_TTL "31d"/],
    [{}, { CASTELLAN_AUDIT_RETENTION: '10m' }, /CASTELLAN_AUDIT_RETENTION "10m"/],
  ];
  for (const [flags, env, said] of cases) {
    assert.throws(
      () => serveSettings(flags, env),
      (error) => {
        assert.ok(error instanceof CommandFailure);
        assert.equal(error.exitCode, 64);
        assert.match(error.message, said);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      },
    );
  }
});

test('every loopback name may be bound without more', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]', '::ffff:127.0.0.1']) {
    assert.equal(serveSettings({ host }, {}).host, host);
  }
  assert.equal(serveSettings({ host: '0.0.0.0', insecureHttp: true }, {}).host, '0.0.0.0');
});
