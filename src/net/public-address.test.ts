import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isPublicAddress } from './public-address.ts';

const PUBLIC = [
  '8.8.8.8',
  '172.15.255.255',
  '172.32.0.1',
  '100.63.255.255',
  '100.128.0.1',
  '2606:4700::1111',
];

/** One of each family that leads to this machine, its networks, or through an IPv4 address in disguise. */
const OTHERS = [
  ['this host', '0.0.0.0', '0.1.2.3', '::'],
  ['loopback', '127.0.0.1', '127.255.255.254', '::1'],
  ['private', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.0.1', 'fc00::1', 'fdff::1'],
  ['link-local', '169.254.169.254', 'fe80::1', 'febf::1', 'fe80::1%eth0'],
  ['site-local', 'fec0::1'],
  ['shared by a provider', '100.64.0.1', '100.127.255.255'],
  ['IETF, documentation, benchmarks', '192.0.0.1', '192.0.2.1', '198.18.0.1', '198.51.100.1', '203.0.113.1'],
  ['the same of IPv6', '2001:db8::1', '2001:2::1', '3fff::1', '100::1', '5f00::1'],
  ['multicast, reserved, broadcast', '224.0.0.1', '240.0.0.1', '255.255.255.255', 'ff02::1'],
  ['IPv4-mapped', '::ffff:127.0.0.1', '::ffff:a9fe:a9fe', '::ffff:8.8.8.8'],
  ['IPv4-compatible and translated', '::127.0.0.1', '::ffff:0:127.0.0.1'],
  ['6to4', '2002:7f00:1::', '2002:808:808::1', '192.88.99.1'],
  ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
  ['NAT64', '64:ff9b::7f00:1', '64:ff9b:1::a00:1'],
  ['no address', '', 'localhost', 'example.com', '::1]', 'fd00::zz'],
];

describe('public addresses', () => {
  test('hosts on the internet are', () => {
    for (const address of PUBLIC) assert.equal(isPublicAddress(address), true, address);
  });

  for (const [family, ...addresses] of OTHERS) {
    test(`${family}: none is`, () => {
      for (const address of addresses) assert.equal(isPublicAddress(address), false, address);
    });
  }
});
