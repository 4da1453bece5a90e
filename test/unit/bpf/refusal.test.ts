import { constants } from 'node:os'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { interfaceCapability, kernelTooOld } from '../../../src/os/bpf/capability.ts'
import { lastWords, refusal } from '../../../src/os/bpf/refusal.ts'

const it = suite('bpf/refusal')
const { E2BIG, EACCES, EPERM } = constants.errno

const log = Buffer.from(
  `${Array.from({ length: 50 }, (_, n) => `${n}: (b7) r0 = ${n}`).join('\n')}
; return *(__u8 *)data; @ refused.bpf.c:9
50: (71) r0 = *(u8 *)(r1 +0)
invalid access to packet, off=0 size=1, R1(id=0,off=0,r=0)
R1 offset is outside of the packet
verification time 60 usec
stack depth 0
processed 51 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

\0 what was in the buffer before`,
)

it('the last words of a log are where it was and why, without statistics', () => {
  const words = lastWords(log)
  assert.is(words.at(-1), 'R1 offset is outside of the packet')
  assert.ok(words.includes('; return *(__u8 *)data; @ refused.bpf.c:9'))
  assert.is(words.length, 8)
  assert.equal(lastWords(new Uint8Array(100)), [])
})

it('the error says which program, why and what to do', () => {
  const error = refusal('tiny', EACCES, { kind: 'program', name: 'run' }, log)
  assert.is(error.code, 'SHUNT_ERR_DATAPLANE')
  assert.match(error.message, /^the kernel refused the program run of the BPF object tiny: EACCES; .*report/)
  assert.match(error.message, /outside of the packet$/)
})

it('a map that is too large is named, without the log of the types before it', () => {
  const { message } = refusal('tiny', E2BIG, { kind: 'map', name: 'table' }, log)
  assert.is(
    message,
    'the kernel refused the map table of the BPF object tiny: E2BIG; it is too large for this kernel',
  )
})

it('missing rights are a capability, not a defect', () => {
  const error = refusal('tiny', EPERM, { kind: 'types', name: '' }, new Uint8Array(1))
  assert.is(error.code, 'SHUNT_ERR_CAPABILITY')
  assert.match(error.message, /the types .*CAP_BPF/)
})

it('kernels before 5.18 are told apart', () => {
  for (const version of ['5.17.99-x', '4.19.0-amd64', '5.2.1'])
    assert.match(kernelTooOld(version)!, /too old/)
  for (const version of ['5.18.0', '6.1.0-9', '10.0', 'strange']) assert.is(kernelTooOld(version), null)
})

const ethernet = { name: 'eth0', mtu: 1500, mac: '02:00:00:00:00:01' }
const all = { basic: true, redirect: true, target: true, frags: true }

it('an interface is native, generic or not for XDP, with the reason', () => {
  assert.equal(interfaceCapability(ethernet, all), {
    mode: 'native',
    needsFrags: false,
    reason: 'eth0: native XDP works',
  })
  assert.is(interfaceCapability(ethernet, null).mode, 'native')
  assert.match(interfaceCapability(ethernet, { ...all, basic: false }).reason, /generic/)
  assert.is(interfaceCapability(ethernet, { ...all, redirect: false }).mode, 'generic')
  const tunnel = interfaceCapability({ ...ethernet, mac: null }, all)
  assert.is(tunnel.mode, null)
  assert.match(tunnel.reason, /Ethernet/)
})

it('a jumbo MTU needs frags, and a driver that has them', () => {
  const jumbo = { ...ethernet, mtu: 9000 }
  assert.equal(
    [interfaceCapability(jumbo, all).mode, interfaceCapability(jumbo, all).needsFrags],
    ['native', true],
  )
  const without = interfaceCapability(jumbo, { ...all, frags: false })
  assert.is(without.mode, 'generic')
  assert.match(without.reason, /MTU of 9000/)
})

it.run()
