/** Runs the loader program of a light skeleton: a program of type "syscall" that itself calls bpf(2). */
import { OsError, ShuntError } from '../../errors.ts'
import { closeFd, pinned, pointerOf } from '../ffi.ts'
import { writeGlobal } from './globals.ts'
import type { LoadOptions } from './load.ts'
import { type BpfMap, createMap } from './map.ts'
import type { BpfObjectFile, ObjectMap } from './object-file.ts'
import { BPF, bpf, cString, duplicate, PAGE_BYTES } from './syscall.ts'

const TYPE_ARRAY = 2
const TYPE_SYSCALL = 31
const F_SLEEPABLE = 1 << 4
const FIRST_KEY = new Uint8Array(4)
// struct bpf_loader_ctx { u32 size, flags, log_level, log_size; u64 log_buf; }, then
// struct bpf_map_desc { int fd; u32 max_entries; u64 initial_value; } a map, and an int a program
const CONTEXT_BYTES = 24
const MAP_BYTES = 16

export interface LoaderRun {
  /** 0: all is loaded. Otherwise the error of the first call that failed, and nothing is. */
  errno: number
  /** What was tried last: after an error, what failed. */
  last: LastTried
  mapFds: number[]
  programFds: number[]
}

/** The loader goes through the types, then each map, then each program. */
export interface LastTried {
  kind: 'types' | 'map' | 'program'
  /** Of the map or program. */
  name: string
}

/** One run, with the verifier's words in `log` if there is one. Throws OsError when the loader itself does not run. */
export const runLoader = (file: BpfObjectFile, options: LoadOptions, log: Buffer | null): LoaderRun => {
  checkNames(file, options)
  const { context, keep } = makeContext(file, options, log)
  const instructions = pinned(file.instructions.length)
  instructions.set(file.instructions)
  const given = new Map<number, number>() // descriptors of reused maps by index: ours until the loader holds them
  const data = createMap({
    type: TYPE_ARRAY,
    name: '__loader.map',
    keyBytes: 4,
    valueBytes: file.data.length,
    maxEntries: 1,
    flags: 0,
  })
  try {
    for (const [index, map] of file.maps.entries()) {
      const existing = options.reuse?.[map.name]
      if (existing === undefined) continue
      checkFit(file.name, map, existing, options.maxEntries?.[map.name])
      given.set(index, duplicate(existing.fd))
      reuse(instructions, map.createInstruction, given.get(index)!)
    }
    data.update(FIRST_KEY, file.data)
    const result = execute(file.name, instructions, data.fd, context, keep)
    if (result >= 0) {
      given.clear()
      return { errno: 0, last: { kind: 'types', name: '' }, ...descriptors(file, context) }
    }
    const after = Buffer.from(data.lookup(FIRST_KEY)!)
    // The loader closes what it has noted at the start of its data, and has not seen the rest.
    for (const index of given.keys()) if (after.readUInt32LE(index * 4) !== 0) given.delete(index)
    return { errno: -result, last: lastTried(file, after), mapFds: [], programFds: [] }
  } finally {
    for (const fd of given.values()) closeFd(fd)
    data.close()
  }
}

const checkNames = (file: BpfObjectFile, options: LoadOptions): void => {
  const asked = [
    ...Object.keys(options.maxEntries ?? {}),
    ...Object.keys(options.reuse ?? {}),
    ...(options.set ?? []).map(([{ section }]) => section),
  ]
  const unknown = asked.find(name => file.maps.every(map => map.name !== name))
  if (unknown !== undefined)
    throw new ShuntError('SHUNT_ERR_DATAPLANE', `the BPF object ${file.name} has no map ${unknown}`)
}

const makeContext = (
  file: BpfObjectFile,
  options: LoadOptions,
  log: Buffer | null,
): { context: Buffer; keep: unknown[] } => {
  const context = pinned(CONTEXT_BYTES + MAP_BYTES * file.maps.length + 4 * file.programs.length)
  context.writeUInt32LE(context.length, 0)
  if (log !== null) {
    context.writeUInt32LE(1, 8)
    context.writeUInt32LE(log.length, 12)
    context.writeBigUInt64LE(pointerOf(log), 16)
  }
  const keep: unknown[] = [log]
  for (const [index, map] of file.maps.entries()) {
    const at = CONTEXT_BYTES + MAP_BYTES * index
    context.writeUInt32LE(options.maxEntries?.[map.name] ?? 0, at + 4)
    if (map.initial === null) continue
    const initial = pinned(Math.ceil(map.initial.length / PAGE_BYTES) * PAGE_BYTES)
    initial.set(map.initial)
    for (const [place, value] of options.set ?? [])
      if (place.section === map.name) writeGlobal(initial.subarray(0, map.valueBytes), place, value)
    context.writeBigUInt64LE(pointerOf(initial), at + 8)
    keep.push(initial)
  }
  return { context, keep }
}

const checkFit = (object: string, map: ObjectMap, { info }: BpfMap, maxEntries = map.maxEntries): void => {
  const fits =
    map.initial === null &&
    info.type === map.type &&
    info.keyBytes === map.keyBytes &&
    info.valueBytes === map.valueBytes &&
    info.flags === map.flags &&
    info.maxEntries === maxEntries
  if (fits) return
  const shape = (s: { type: number; keyBytes: number; valueBytes: number; flags: number }, entries: number) =>
    `type ${s.type}, keys of ${s.keyBytes} bytes, values of ${s.valueBytes}, ${entries} entries, flags ${s.flags}`
  throw new ShuntError(
    'SHUNT_ERR_DATAPLANE',
    `the BPF object ${object} cannot go on with the map ${map.name} that is there (${shape(info, info.maxEntries)}): ` +
      `it needs ${map.initial === null ? shape(map, maxEntries) : 'globals of its own'}`,
  )
}

/**
 * The loader has no notion of a map that is there already. Its instruction that calls bpf(MAP_CREATE) becomes
 * `r0 = descriptor`, which is what that call would have answered: a loader runs in the process that runs it.
 */
const reuse = (instructions: Buffer, at: number, fd: number): void => {
  instructions.writeUInt32LE(0xb7, at * 8) // BPF_ALU64 | BPF_MOV | BPF_K, destination r0
  instructions.writeInt32LE(fd, at * 8 + 4)
}

/** Answers the loader's result, negative for -errno. */
const execute = (
  object: string,
  instructions: Buffer,
  dataFd: number,
  context: Buffer,
  keep: unknown[],
): number => {
  const fds = pinned(4)
  fds.writeInt32LE(dataFd, 0)
  const licence = cString('Dual BSD/GPL')
  const load = pinned(128)
  load.writeUInt32LE(TYPE_SYSCALL, 0)
  load.writeUInt32LE(instructions.length / 8, 4)
  load.writeBigUInt64LE(pointerOf(instructions), 8)
  load.writeBigUInt64LE(pointerOf(licence), 16)
  load.writeUInt32LE(F_SLEEPABLE, 44)
  load.write('__loader.prog', 48, 'latin1')
  load.writeBigUInt64LE(pointerOf(fds), 120)
  const program = loaderFd(object, load, [instructions, licence, fds])
  try {
    const test = pinned(80)
    test.writeUInt32LE(program, 0)
    test.writeUInt32LE(context.length, 40)
    test.writeBigUInt64LE(pointerOf(context), 48)
    bpf(BPF.PROG_RUN, `run the loader of ${object}`, test, context, ...keep)
    return test.readInt32LE(4)
  } finally {
    closeFd(program)
  }
}

const loaderFd = (object: string, attributes: Buffer, keep: unknown[]): number => {
  try {
    return bpf(BPF.PROG_LOAD, `load the loader of ${object}`, attributes, ...keep)
  } catch (error) {
    const old = error instanceof OsError && (error.symbol === 'EINVAL' || error.symbol === 'E2BIG')
    if (!old) throw error
    throw new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      'the kernel does not take a BPF loader program: that needs CAP_PERFMON beside CAP_BPF, and Linux 5.14 or later',
      { cause: error },
    )
  }
}

const descriptors = (file: BpfObjectFile, context: Buffer): Pick<LoaderRun, 'mapFds' | 'programFds'> => {
  const programsAt = CONTEXT_BYTES + MAP_BYTES * file.maps.length
  return {
    mapFds: file.maps.map((_, index) => context.readInt32LE(CONTEXT_BYTES + MAP_BYTES * index)),
    programFds: file.programs.map((_, index) => context.readInt32LE(programsAt + 4 * index)),
  }
}

/**
 * The loader notes the descriptor of each map at the start of its data, and puts the address of a program's instructions into
 * its attributes right before it loads it.
 */
const lastTried = ({ maps, programs }: BpfObjectFile, data: Buffer): LastTried => {
  const program = programs.findLast(({ attribute }) => data.readBigUInt64LE(attribute + 8) !== 0n)
  if (program !== undefined) return { kind: 'program', name: program.name }
  const made = maps.findIndex((_, index) => data.readUInt32LE(index * 4) === 0)
  return made >= 0 ? { kind: 'map', name: maps[made].name } : { kind: 'types', name: '' }
}
