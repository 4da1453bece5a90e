/** Which sockets a process waits on: this process, against what Node says of its own servers. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listeningOf, parseSocketTable } from '../../src/os/listening.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('listening')

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (local: string, state: string, inode: number): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000000000000000 100 0 0 10 0\n`

it('reads the tables of the kernel', () => {
  const text = `${HEAD}${row('0100007F:1F90', '0A', 11)}${row('0100007F:1F91', '01', 12)}${row('00000000000000000000000001000000:0050', '0A', 13)}${row('0000000000000000FFFF00000100630A:0050', '0A', 14)}`
  assert.equal(
    [...parseSocketTable(text, 'tcp')],
    [
      ['11', { protocol: 'tcp', address: '127.0.0.1', port: 8080 }],
      ['13', { protocol: 'tcp', address: '::1', port: 80 }],
      ['14', { protocol: 'tcp', address: '10.99.0.1', port: 80 }],
    ],
  )
  assert.equal(
    [...parseSocketTable(row('0100630A:0035', '07', 15), 'udp')],
    [['15', { protocol: 'udp', address: '10.99.0.1', port: 53 }]],
  )
  assert.is(parseSocketTable(row('0100630A:0035', '07', 15), 'tcp').size, 0)
})

it('passes over lines that are cut or strange', () => {
  const good = row('0100007F:1F90', '0A', 11)
  fc.assert(
    fc.property(fc.nat({ max: good.length - 1 }), fc.string(), (cut, noise) => {
      const found = parseSocketTable(`${good.slice(0, cut)}\n${noise}\n${good}`, 'tcp')
      assert.ok(found.size >= 1 && found.has('11'))
    }),
  )
  assert.is(parseSocketTable(row('0100007F0100007F:1F90', '0A', 11), 'tcp').size, 0)
})

it('finds the sockets of this process, and only those that wait', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const udp = createSocket('udp4').bind(0, '127.0.0.1')
  await once(udp, 'listening')
  const { sockets, truncated, sameNetwork, uid } = await listeningOf(process.pid)
  assert.equal([truncated, sameNetwork, uid], [false, true, process.geteuid!()])
  assert.equal(sockets, [
    { protocol: 'tcp', address: '127.0.0.1', port },
    { protocol: 'udp', address: '127.0.0.1', port: udp.address().port },
  ])
  client.destroy()
  udp.close()
  server.close()
  await once(server, 'close')
  assert.equal((await listeningOf(process.pid)).sockets, [])
})

testIf(
  missingRoot(),
  it,
  'another user without CAP_SYS_PTRACE sees the user of a process, not its sockets',
  async () => {
    const root = process.geteuid!()
    process.seteuid!(65_534)
    const seen = await listeningOf(1).finally(() => process.seteuid!(root))
    assert.equal(seen, { sockets: null, truncated: false, sameNetwork: false, uid: 0 })
  },
)

it('a process that is not there', async () => {
  const [error] = await Promise.allSettled([listeningOf(2 ** 22 + 1)])
  assert.is(error.status, 'rejected')
})

it.run()
