import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PROBE_GLOBALS, PROBE_KIND, PROBE_LAYOUT } from '../../src/agent/dataplane/xdp/layout/probe.ts'
import { ShuntError } from '../../src/errors.ts'
import { loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { enableRunStatistics, XDP } from '../../src/os/bpf/program.ts'
import {
  compileText,
  counted,
  loadProbe,
  missingBpf,
  missingCompiler,
  openFds,
  probeFile,
  runTimes,
  tcp4Frame,
  udp4Frame,
  udp6Frame,
} from '../support/bpf.ts'
import { testIf } from '../support/skip.ts'

const it = suite('bpf/load')
const [noBpf, noCompiler] = [missingBpf(), missingCompiler()]
const lab = (name: string, run: () => void): void => testIf(noBpf, it, name, run)
const compiled = (name: string, run: () => Promise<void>): void => testIf(noCompiler, it, name, run)

lab('loads maps and programs, closes them all, and says what they are', () => {
  const before = openFds()
  const probe = loadProbe()
  assert.is(openFds().length, before.length + 9, 'six maps, three programs')
  const info = probe.program('probe').info()
  assert.equal([info.name, info.type, info.maps], ['probe', 6, 6])
  assert.ok(info.verified > 100)
  assert.match(info.tag, /^[0-9a-f]{16}$/)
  const { id, ...counts } = probe.map('counts').info
  assert.ok(id > 0)
  assert.equal(counts, {
    type: 2,
    name: 'counts',
    keyBytes: 4,
    valueBytes: 16,
    maxEntries: 3,
    flags: 1024,
  })
  assert.throws(() => probe.map('nothing'), /has no map nothing; it has: counts, sources/)
  assert.throws(() => probe.program('nothing'), /it has: probe, probe_frags, probe_tc/)
  probe.close()
  probe.close()
  assert.equal(openFds(), before)
})

lab('a test run answers verdict and packet, and the program counted it', () => {
  const probe = loadProbe({ set: [[PROBE_GLOBALS.verdict, XDP.tx]] })
  const frame = udp4Frame()
  const result = probe.program('probe').testRun({ data: frame, ingress: { interfaceIndex: 1 } })
  assert.is(result.verdict, XDP.tx)
  assert.equal(result.data, frame)
  runTimes(probe.program('probe'), udp6Frame(), 100)
  const counts = probe.map('counts')
  assert.equal(counted(counts, PROBE_KIND.PROBE_IPV4), { packets: 1, bytes: frame.length })
  assert.is(counted(counts, PROBE_KIND.PROBE_IPV6).packets, 100)
  assert.is(counted(counts, PROBE_KIND.PROBE_OTHER).packets, 0)
  assert.throws(() => probe.program('probe').testRun({ data: new Uint8Array(13) }), /EINVAL/)
  assert.throws(() => probe.program('probe').testRun({ data: frame, room: 20 }), /ENOSPC/)
  probe.close()
})

lab('a test run of a tc program and of one for packets in several buffers', () => {
  const probe = loadProbe()
  assert.is(probe.program('probe_tc').testRun({ data: tcp4Frame() }).verdict, -1)
  const large = udp4Frame('10.0.0.9', new Uint8Array(8900))
  const { data } = probe.program('probe_frags').testRun({ data: large })
  assert.equal(data, large)
  assert.is(counted(probe.map('counts'), PROBE_KIND.PROBE_IPV4).bytes, large.length + tcp4Frame().length)
  probe.close()
})

lab('globals are set before loading, and seen from both sides while it runs', () => {
  const probe = loadProbe({
    set: [
      [PROBE_GLOBALS.sequence, 1000n],
      [PROBE_GLOBALS.sampleEvery, 0],
    ],
  })
  const data = new MappedArray(probe.map('data'))
  const { offset } = PROBE_GLOBALS.sequence
  assert.is(data.view.getBigUint64(offset, true), 1000n)
  runTimes(probe.program('probe'), udp4Frame(), 5)
  assert.is(data.view.getBigUint64(offset, true), 1005n)
  data.view.setBigUint64(offset, 7n, true)
  probe.program('probe').testRun({ data: udp4Frame() })
  assert.is(data.view.getBigUint64(offset, true), 8n)
  data.release()
  probe.close()
  const wrong = () => loadProbe({ set: [[{ section: 'nothing', offset: 0, bytes: 4 }, 1]] })
  assert.throws(wrong, /has no map nothing/)
})

lab('run-time statistics count while they are on', () => {
  const probe = loadProbe()
  const program = probe.program('probe')
  const statistics = enableRunStatistics()
  runTimes(program, udp4Frame(), 50)
  statistics.close()
  const { runs, runNs } = program.info()
  assert.is(runs, 50)
  assert.ok(runNs > 0)
  probe.close()
})

lab('a map that is there already is used, counts go on, and it must fit', () => {
  const old = loadProbe()
  runTimes(old.program('probe'), udp4Frame(), 3)
  const before = openFds()
  const { counts, sources } = { counts: old.map('counts'), sources: old.map('sources') }
  const next = loadProbe({ reuse: { counts, sources } })
  assert.is(next.map('counts').info.id, counts.info.id)
  runTimes(next.program('probe'), udp4Frame(), 2)
  assert.is(counted(counts, PROBE_KIND.PROBE_IPV4).packets, 5)
  next.close()
  assert.equal(openFds(), before)
  assert.is(counted(counts, PROBE_KIND.PROBE_IPV4).packets, 5, 'still open for its owner')

  assert.throws(() => loadProbe({ reuse: { counts: sources } }), /cannot go on with the map counts .*24.*16/)
  const larger = () => loadProbe({ reuse: { sources }, maxEntries: { sources: 2000 } })
  assert.throws(larger, /1024 entries.*2000 entries/)
  assert.throws(() => loadProbe({ reuse: { data: old.map('data') } }), /globals of its own/)
  assert.equal(openFds(), before)
  // Refused in the middle: before the maps that are reused, and after one of them.
  assert.throws(
    () => loadProbe({ reuse: { counts }, maxEntries: { sources: 4_000_000_000 } }),
    /map sources.*E2BIG/,
  )
  assert.throws(() => loadProbe({ reuse: { sources }, maxEntries: { counts: 0xffffffff } }), /map counts/)
  assert.equal(openFds(), before)
  old.close()
})

lab('sizes of maps can be chosen', () => {
  const probe = loadProbe({ maxEntries: { sources: 2, events: 8192 } })
  assert.is(probe.map('sources').info.maxEntries, 2)
  assert.is(probe.map('events').info.maxEntries, 8192)
  probe.close()
  assert.throws(() => loadProbe({ maxEntries: { nothing: 1 } }), /has no map nothing/)
})

lab('an object of another layout is refused before it is loaded', () => {
  assert.throws(() => loadObject(probeFile(), { layout: `${PROBE_LAYOUT}x` }), /build again/)
})

lab('says which right is missing; CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are enough', () => {
  const withRights = (...rights: string[]): string => {
    const set = `--bounding-set=${['-all', ...rights.map(right => `+${right}`)].join(',')}`
    const script = join(import.meta.dirname, '../support/bpf-load-process.ts')
    return execFileSync('setpriv', [set, process.execPath, '--no-warnings', script], { encoding: 'utf8' })
  }
  assert.is(withRights('bpf', 'perfmon', 'net_admin'), 'loaded')
  assert.match(withRights('bpf', 'net_admin'), /needs CAP_PERFMON/)
  assert.match(withRights('perfmon', 'net_admin'), /EPERM.*grant CAP_BPF/)
  assert.match(withRights('bpf', 'perfmon'), /refused the program probe.*EPERM.*CAP_NET_ADMIN/)
})

compiled(
  'a refused program gives its name, its line and the words of the verifier; nothing stays',
  async () => {
    const file = await compileText(
      'refused',
      `#include "base.h"
SEC("xdp") int fine(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int greedy(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data; /* past the end, for all that is known */
}
`,
    )
    const before = openFds()
    try {
      loadObject(file, { layout: file.layout })
      assert.unreachable('the verifier takes it')
    } catch (error) {
      assert.instance(error, ShuntError)
      const { code, message } = error as ShuntError
      assert.is(code, 'SHUNT_ERR_DATAPLANE')
      assert.match(message, /^the kernel refused the program greedy of the BPF object refused: EACCES; /)
      assert.match(message, /return \*\(__u8 \*\)\(long\)ctx->data/)
      assert.match(message, /invalid access to packet/)
      assert.not.match(message, /processed \d+ insns/)
    }
    assert.equal(openFds(), before)
  },
)

it.run()
