/** What is known of a vendor before it is asked anything. Nothing in it comes from the vendor's servers. */
export type Provider = {
  /** Where people sign in and tokens are issued; without them the vendor's MCP server says it by itself. */
  endpoints?: { authorization: string; token: string; device?: string };
  /** Asked for besides whatever else is. */
  scopes?: readonly string[];
  /** What a request to its authorization endpoint needs besides. */
  parameters?: Readonly<Record<string, string>>;
  /** What its token endpoint takes; undefined: RFC 6749 section 2.3.1. */
  authMethods?: readonly string[];
  /** It answers a request that has `resource` (RFC 8707) with an error. */
  refusesResource?: true;
  /** It lists scopes with commas between them. */
  commaScopes?: true;
};

export const PROVIDERS: Readonly<Record<string, Provider>> = {
  // support.atlassian.com, Rovo MCP server: registers clients by itself.
  atlassian: {},
  // docs.github.com, Authorizing OAuth apps: the secret is a parameter, scopes come back as "repo,gist".
  github: {
    endpoints: {
      authorization: 'https://github.com/login/oauth/authorize',
      token: 'https://github.com/login/oauth/access_token',
      device: 'https://github.com/login/device/code',
    },
    authMethods: ['client_secret_post'],
    commaScopes: true,
  },
  // docs.gitlab.com, OAuth 2.0 identity provider API. A self-managed GitLab is provider: custom.
  gitlab: {
    endpoints: {
      authorization: 'https://gitlab.com/oauth/authorize',
      token: 'https://gitlab.com/oauth/token',
      device: 'https://gitlab.com/oauth/authorize_device',
    },
  },
  // developers.google.com, OAuth 2.0 for web server applications: a refresh token comes with offline access that was
  // consented to. Its device flow takes clients of another kind.
  google: {
    endpoints: {
      authorization: 'https://accounts.google.com/o/oauth2/v2/auth',
      token: 'https://oauth2.googleapis.com/token',
    },
    parameters: { access_type: 'offline', prompt: 'consent' },
  },
  // linear.app/docs/mcp: registers clients by itself.
  linear: {},
  // learn.microsoft.com, Microsoft identity platform v2.0: the resource is part of the scope (AADSTS901002), and
  // offline_access brings a refresh token. One tenant alone is provider: custom.
  microsoft: {
    endpoints: {
      authorization: 'https://login.microsoftonline.com/common/oauth2/v2.0/authorize',
      token: 'https://login.microsoftonline.com/common/oauth2/v2.0/token',
      device: 'https://login.microsoftonline.com/common/oauth2/v2.0/devicecode',
    },
    scopes: ['offline_access'],
    refusesResource: true,
  },
  // developers.notion.com, Build an MCP client: registers clients by itself.
  notion: {},
  // docs.sentry.io, Sentry MCP: registers clients by itself.
  sentry: {},
  // docs.slack.dev, oauth.v2.user.access.
  slack: {
    endpoints: {
      authorization: 'https://slack.com/oauth/v2_user/authorize',
      token: 'https://slack.com/api/oauth.v2.user.access',
    },
    commaScopes: true,
  },
};

export const PROVIDER_NAMES = ['custom', ...Object.keys(PROVIDERS)];

/** What is known of the vendor that issues tokens here, whoever named it. */
export function providerAt(tokenEndpoint: string): Provider {
  const { origin } = new URL(tokenEndpoint);
  const there = ({ endpoints }: Provider) =>
    endpoints !== undefined && new URL(endpoints.token).origin === origin;
  return Object.values(PROVIDERS).find(there) ?? {};
}
