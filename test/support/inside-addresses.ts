import net, { type AddressInfo, type Server } from 'node:net';

/** Counts who connects, on every address of this machine. */
export async function listener(): Promise<{ port: number; seen: () => number; [Symbol.dispose](): void }> {
  let connections = 0;
  const server: Server = net.createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '::', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen: () => connections,
    [Symbol.dispose]: () => void server.close(),
  };
}

/** By family: all that must not be reached by whoever only knows a name of it. */
export const INSIDE_ADDRESSES = [
  ['loopback', '127.0.0.1', '127.1', 'localhost', 'localhost.', '[::1]', '[0:0:0:0:0:0:0:1]'],
  ['numbers', '2130706433', '0x7f000001', '0177.0.0.1', '0x7f.1', '017700000001', '%31%32%37.0.0.1'],
  ['wide digits', '１２７.０.０.１', '127。0。0。1'],
  ['any', '0.0.0.0', '0', '[::]'],
  ['link-local', '169.254.169.254', '[fe80::1]'],
  ['private', '10.0.0.1', '172.16.0.1', '192.168.1.1', '[fd00::1]', '100.64.0.1'],
  ['mapped', '[::ffff:127.0.0.1]', '[::ffff:a9fe:a9fe]', '[::127.0.0.1]'],
  ['tunnels', '[2002:7f00:1::]', '[2001:0:4136:e378:8000:63bf:80ff:fffe]', '[64:ff9b::7f00:1]'],
] as const;
