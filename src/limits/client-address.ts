import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = [Address, number];

const UNKNOWN = 'unknown';

/** Says whose address a request comes from, behind proxies that are known to say so truthfully. */
export class ClientAddresses {
  readonly #trusted: readonly Range[];

  /** @param trusted CIDR ranges of the proxies; none: `X-Forwarded-For` means nothing */
  constructor(trusted: readonly string[]) {
    this.#trusted = trusted.map((range) => ipaddr.parseCIDR(range) as Range);
  }

  /** What counts as one under limits: the address, an IPv6 one as its /64, which one host has whole. */
  network(connection: string | undefined, forwardedFor: string | undefined): string {
    const client = this.#client(connection, forwardedFor);
    return client ? networkOf(client) : UNKNOWN;
  }

  /** The address itself, for whoever looks it up later. */
  exact(connection: string | undefined, forwardedFor: string | undefined): string {
    return this.#client(connection, forwardedFor)?.toString() ?? UNKNOWN;
  }

  /** That of the connection, or, while the hop is a trusted proxy, the one that it names, from right to left. */
  #client(connection: string | undefined, forwardedFor: string | undefined): Address | undefined {
    let client = parsed(connection);
    if (!client) return undefined;
    const hops = forwardedFor === undefined || !this.#isTrusted(client) ? [] : forwardedFor.split(',');
    for (let index = hops.length - 1; index >= 0 && this.#isTrusted(client); index -= 1) {
      const named = parsed(hops[index]);
      if (!named) break;
      client = named;
    }
    return client;
  }

  #isTrusted(address: Address): boolean {
    return this.#trusted.some(
      ([range, bits]) => range.kind() === address.kind() && address.match(range, bits),
    );
  }
}

/** With or without a port; IPv4 also in its IPv6 form. */
function parsed(text: string | undefined): Address | undefined {
  const bare = (text ?? '')
    .trim()
    .replace(/^\[(.*)\](?::\d+)?$/, '$1')
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1')
    .replace(/%.*$/, '');
  return bare.length <= 45 && ipaddr.isValid(bare) ? ipaddr.process(bare) : undefined;
}

function networkOf(address: Address): string {
  if (address.kind() === 'ipv4') return address.toString();
  const { parts } = address as ipaddr.IPv6;
  const network = parts.slice(0, 4).map((part) => part.toString(16));
  return `${network.join(':')}::/64`;
}
