/** One BPF C file → the object that the agent loads, and its layout. Runs clang and bpftool. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { arch } from 'node:os'
import { basename, join } from 'node:path'
import { type BpfObjectFile, encodeObject, type ObjectMap } from '../../src/os/bpf/object-file.ts'
import { parseBtf } from './btf.ts'
import { elfSections } from './elf.ts'
import { type ObjectLayout, objectLayout } from './layout.ts'
import { fingerprint } from './module.ts'
import { type LoaderCall, loaderCalls, parseSkeleton, type Skeleton } from './skeleton.ts'

const MAP_CREATE = 0
const PROG_LOAD = 5
/** <asm/types.h> lies in a folder of the machine's kind on Debian. */
const TRIPLES: Record<string, string> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }

const CLANG = process.env.CLANG ?? 'clang'
const BPFTOOL = process.env.BPFTOOL ?? 'bpftool'

/** What of the tools is not there, in words; empty when all is. */
export const missingTools = (): string[] => {
  const has = (command: string): boolean => {
    try {
      execFileSync(command, ['--version'], { stdio: 'ignore', env: toolEnvironment() })
      return true
    } catch {
      return false
    }
  }
  return [
    ...(has(CLANG) ? [] : ['clang']),
    ...(has(BPFTOOL) ? [] : ['bpftool']),
    ...(existsSync('/usr/include/bpf/bpf_helpers.h') ? [] : ['libbpf-dev']),
  ]
}

/** Debian keeps bpftool where only root looks. */
const toolEnvironment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
})

const run = (command: string, args: string[]): string => {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 28,
      env: toolEnvironment(),
    })
  } catch (error) {
    const text = String((error as { stderr?: string }).stderr ?? '').trim()
    throw new Error(`${basename(command)} failed:\n${text || error}`)
  }
}

export interface Compiled {
  /** Contents of the file to load. */
  file: string
  layout: ObjectLayout
}

/** Compiles `source` (`<name>.bpf.c`), with the intermediate files in `work`. @throws Error with the tools' own words */
export const compileBpf = (source: string, include: string, work: string): Compiled => {
  mkdirSync(work, { recursive: true })
  const name = basename(source, '.bpf.c')
  const [plain, linked] = [`${name}.o`, `${name}.bpf.o`].map(file => join(work, file))
  run(CLANG, [
    ...['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-std=gnu11'],
    ...['-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter', '-fno-ident'],
    `-fdebug-prefix-map=${work}=.`,
    `-I${include}`,
    `-I/usr/include/${TRIPLES[arch()] ?? ''}`,
    ...['-c', source, '-o', plain],
  ])
  run(BPFTOOL, ['gen', 'object', linked, plain]) // gives the sections of globals their sizes and offsets
  const skeleton = parseSkeleton(run(BPFTOOL, ['gen', 'skeleton', '-L', linked, 'name', name]))
  const sections = elfSections(readFileSync(linked))
  const btf = sections.get('.BTF')
  if (btf === undefined) throw new Error(`${source} has no BTF: compile it with -g`)
  const layout = objectLayout(parseBtf(btf))
  const object = describe(skeleton, sections, fingerprint(layout))
  return { file: encodeObject(object), layout }
}

const text = (bytes: Buffer, at: number): string => {
  const end = bytes.indexOf(0, at)
  return bytes.toString('latin1', at, end)
}

/** Finds in the loader's data what it will pass to the kernel for each map and program. */
const describe = (
  { name, maps, programs, instructions, data }: Skeleton,
  sections: ReadonlyMap<string, Buffer>,
  layout: string,
): BpfObjectFile => {
  const calls = loaderCalls(instructions)
  const of = (command: number): LoaderCall[] => calls.filter(call => call.command === command)
  const [creates, loads] = [of(MAP_CREATE), of(PROG_LOAD)]
  if (creates.length !== maps.length || loads.length !== programs.length)
    throw new Error(
      `the loader of ${name} makes ${creates.length} maps and ${loads.length} programs; the header names ${maps.length} and ${programs.length}`,
    )
  return {
    name,
    layout,
    instructions,
    data,
    maps: maps.map((map, index): ObjectMap => {
      const { attribute, instruction } = creates[index]
      const word = (at: number): number => data.readUInt32LE(attribute + at)
      // Kernel names are cut to 15 bytes; a section's is "<object>.<section>".
      const kernelName = text(data, attribute + 28)
      const section = kernelName.includes('.')
        ? [...sections.keys()].find(key => key.slice(1).replaceAll('.', '_') === map && key.startsWith('.'))
        : undefined
      if (section === undefined && kernelName !== map.slice(0, 15))
        throw new Error(`map ${index} of ${name} is ${map} in the header and ${kernelName} in the loader`)
      return {
        name: map,
        type: word(0),
        keyBytes: word(4),
        valueBytes: word(8),
        maxEntries: word(12),
        flags: word(16),
        createInstruction: instruction,
        initial: section === undefined ? null : (sections.get(section) ?? null),
      }
    }),
    programs: programs.map((program, index) => {
      const { attribute } = loads[index]
      const kernelName = text(data, attribute + 48)
      if (kernelName !== program.slice(0, 15))
        throw new Error(
          `program ${index} of ${name} is ${program} in the header and ${kernelName} in the loader`,
        )
      return { name: program, type: data.readUInt32LE(attribute), attribute }
    }),
  }
}
