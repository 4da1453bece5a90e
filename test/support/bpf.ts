import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileBpf, missingTools } from '../../scripts/bpf/compile.ts'
import { fingerprint } from '../../scripts/bpf/module.ts'
import { PROBE_COUNT_BYTES, PROBE_GLOBALS, PROBE_LAYOUT } from '../../src/agent/dataplane/xdp/layout/probe.ts'
import { bpfObject } from '../../src/assets.ts'
import { errorText } from '../../src/errors.ts'
import { pinFolder, removePins } from '../../src/os/bpf/bpffs.ts'
import { type LoadedObject, type LoadOptions, loadObject } from '../../src/os/bpf/load.ts'
import type { BpfMap } from '../../src/os/bpf/map.ts'
import { type BpfObjectFile, decodeObject } from '../../src/os/bpf/object-file.ts'
import type { BpfProgram } from '../../src/os/bpf/program.ts'
import { buildTcp4, buildUdp4, buildUdp6 } from './packets.ts'
import { missingRoot } from './skip.ts'

/** Why programs cannot be loaded here, or undefined. */
export const missingBpf = (): string | undefined => {
  const root = missingRoot()
  if (root !== undefined) return root
  try {
    loadProbe().close()
  } catch (error) {
    return errorText(error)
  }
}

/** The same for tests that compile programs of their own. */
export const missingCompiler = (): string | undefined =>
  missingBpf() ?? (missingTools().length > 0 ? `needs ${missingTools().join(', ')}` : undefined)

export const probeFile = (): BpfObjectFile => decodeObject(bpfObject('probe'))

/** The probe, all of whose packets pass and are reported unless `options` say otherwise. */
export const loadProbe = (options: Omit<LoadOptions, 'layout'> = {}): LoadedObject =>
  loadObject(probeFile(), { layout: PROBE_LAYOUT, ...options })

/** A probe with another verdict. */
export const loadVerdict = (verdict: number): LoadedObject =>
  loadProbe({ set: [[PROBE_GLOBALS.verdict, verdict]] })

/** Compiles a program of the test's own. */
export const compileText = async (name: string, text: string): Promise<BpfObjectFile> => {
  const { writeFileSync } = await import('node:fs')
  const folder = mkdtempSync(join(tmpdir(), 'bpf-test-'))
  try {
    const source = join(folder, `${name}.bpf.c`)
    writeFileSync(source, text)
    const include = join(import.meta.dirname, '../../src/agent/dataplane/xdp/bpf')
    const { file, layout } = compileBpf(source, include, join(folder, 'work'))
    const object = decodeObject(file)
    if (object.layout !== fingerprint(layout)) throw new Error('the file does not carry its layout')
    return object
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Descriptors of this process: equal before and after, nothing was left open. */
export const openFds = (): string[] => readdirSync('/proc/self/fd').sort()

/** Runs a program exactly `times` times, as an interface's packets would. */
export const runTimes = (program: BpfProgram, data: Uint8Array, times: number): void => {
  for (let n = 0; n < times; n++) program.testRun({ data, ingress: { interfaceIndex: 1 } })
}

const ethernet = (type: number, packet: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(14 + packet.length)
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, type >> 8, type & 0xff])
  frame.set(packet, 14)
  return frame
}
export const udp4Frame = (source = '10.0.0.1', payload = new Uint8Array(8)): Uint8Array =>
  ethernet(0x0800, buildUdp4({ source, payload }))
export const tcp4Frame = (source = '10.0.0.1'): Uint8Array => ethernet(0x0800, buildTcp4({ source }))
export const udp6Frame = (): Uint8Array => ethernet(0x86dd, buildUdp6())

/** Key of an array: a u32. */
export const index = (value: number): Uint8Array => {
  const key = new Uint8Array(4)
  new DataView(key.buffer).setUint32(0, value, true)
  return key
}

/** Packets and bytes that the probe counted of a kind, by system call. */
export const counted = (counts: BpfMap, kind: number): { packets: number; bytes: number } => {
  const value = counts.lookup(index(kind))
  if (value?.length !== PROBE_COUNT_BYTES) throw new Error(`no count of kind ${kind}`)
  const view = new DataView(value.buffer)
  return { packets: Number(view.getBigUint64(0, true)), bytes: Number(view.getBigUint64(8, true)) }
}

/** Some kernels put these into every bpffs (CONFIG_BPF_PRELOAD). */
const PRELOADED: ReadonlySet<string> = new Set(['maps.debug', 'progs.debug'])
const OWN_BPFFS = '/run/shunt/bpf'
const hadBpffs = (): boolean => {
  try {
    return statfsSync(OWN_BPFFS).type === 0xcafe4a11
  } catch {
    return false
  }
}

/** A folder for pins that `remove` removes, with the file system if it had to be mounted for it and nobody else uses it. */
export const testPins = (): { owner: string; folder: string; remove: () => void } => {
  const had = hadBpffs()
  const owner = `test-${process.pid}-${Math.floor(performance.now() * 1000)}`
  const folder = pinFolder(owner)
  return {
    owner,
    folder,
    remove: () => {
      removePins(folder)
      if (had || !hadBpffs() || readdirSync(OWN_BPFFS).some(name => !PRELOADED.has(name))) return
      try {
        execFileSync('umount', [OWN_BPFFS], { stdio: 'ignore' })
        execFileSync('rmdir', ['-p', '--ignore-fail-on-non-empty', OWN_BPFFS], { stdio: 'ignore' })
      } catch {
        // Somebody else began to use it.
      }
    },
  }
}
