import ipaddr from 'ipaddr.js';

/** All that is routed to one host on the internet; tunnels and translations that hide another address lie outside. */
const GLOBAL_UNICAST_V6 = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Whether an IP address, as the system or the URL parser writes it, belongs to a host on the public internet: not to
 * this machine, its networks, its provider's, or to a form that carries an IPv4 address inside (IANA special-purpose
 * registries, RFC 6890).
 */
export function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== 'unicast') return false;
  return address.kind() === 'ipv4' || address.match(GLOBAL_UNICAST_V6);
}
