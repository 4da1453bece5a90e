import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP, DropCounters } from '../../src/agent/dataplane/drops.ts'
import { PacketOutput } from '../../src/agent/dataplane/slow-path.ts'
import type { RawSender } from '../../src/os/raw-socket.ts'
import { HOSTS, TUNNEL, tcp, words } from '../support/cores.ts'

const it = suite('packet output')

it('a packet larger than the cluster carries is dropped and counted, whatever the uplink carries', () => {
  const sent: number[] = []
  const raw = {
    queue: (_buf: Uint8Array, _offset: number, length: number) => sent.push(length),
    flush: () => 0,
  } as unknown as RawSender
  const drops = new DropCounters()
  const output = new PacketOutput(raw, null, drops, 2048)
  for (const size of [2008, 2009])
    output.tunnel(tcp(16, { payload: new Uint8Array(size) }), words(TUNNEL), words(HOSTS[0]), 1)
  assert.equal(sent, [2048])
  assert.is(drops.counts[DROP.TOO_BIG], 1)
})

it.run()
