/**
 * What of the edge object is pinned, so that it outlives the agent (R-G4): in a bpffs folder of the node's own
 *
 *   now/map_NAME_LAYOUT   a map; LAYOUT is the fingerprint of what its keys and values are made of
 *   now/prog_NAME         a program
 *   link_INDEX_MODE       a program on an interface
 *
 * The next object is pinned in `next`, which takes the place of `now` before the links go over to it; `before` holds what was until they
 * have. So whenever an agent dies, `now` or `before` is whole.
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { errorText, ShuntError } from '../../../errors.ts'
import { isBpffs } from '../../../os/bpf/bpffs.ts'
import { BpfLink, type XdpMode } from '../../../os/bpf/link.ts'
import type { LoadedObject } from '../../../os/bpf/load.ts'
import { BpfMap } from '../../../os/bpf/map.ts'
import { openPinned } from '../../../os/bpf/object.ts'
import { BpfProgram } from '../../../os/bpf/program.ts'
import { closeFd } from '../../../os/ffi.ts'

const NOW = 'now'
const NEXT = 'next'
const BEFORE = 'before'
const LINK = /^link_(\d+)_(native|generic)$/
const MAP = /^map_(\w+)_([0-9a-f]{8})$/

export interface PinnedMap {
  readonly layout: string
  readonly map: BpfMap
}

export interface PinnedLink {
  readonly index: number
  readonly mode: XdpMode
  readonly link: BpfLink
}

/** A thing of another kind under a name of ours would be misread. */
const openAs = (path: string, kind: 'bpf-map' | 'bpf-prog' | 'bpf_link' | 'bpf-link'): number => {
  let fd: number | null
  try {
    fd = openPinned(path)
  } catch (cause) {
    throw foreign(path, errorText(cause), cause)
  }
  if (fd === null) throw foreign(path, 'it is gone')
  const is = readlinkSync(`/proc/self/fd/${fd}`)
    .replace('anon_inode:', '')
    .replace('_', '-')
    .replace(/[[\]]/g, '')
  if (is === kind) return fd
  closeFd(fd)
  throw foreign(path, `it is a ${is}, not a ${kind}`)
}

export const foreign = (path: string, why: string, cause?: unknown): ShuntError =>
  new ShuntError(
    'SHUNT_ERR_DATAPLANE',
    `what is pinned at ${path} was not left by an agent of this node (${why}); what is in force stays so: ` +
      'remove that file, or everything with `shunt agent --flush`, and start again',
    { cause },
  )

export class EdgePins {
  readonly folder: string

  /** Ends what an agent that died had begun. @param folder in a bpffs */
  constructor(folder: string) {
    this.folder = folder
    if (!existsSync(this.#at(NOW)) && existsSync(this.#at(BEFORE)))
      renameSync(this.#at(BEFORE), this.#at(NOW))
    this.#drop(NEXT)
  }

  #at(...names: string[]): string {
    return join(this.folder, ...names)
  }

  #drop(name: string): void {
    rmSync(this.#at(name), { recursive: true, force: true })
  }

  /** By name; the caller closes them. Throws ShuntError (SHUNT_ERR_DATAPLANE) for what is none of ours. */
  maps(): Map<string, PinnedMap> {
    const found = new Map<string, PinnedMap>()
    if (!existsSync(this.#at(NOW))) return found
    try {
      for (const name of readdirSync(this.#at(NOW))) {
        const parts = MAP.exec(name)
        if (parts === null) continue
        const map = new BpfMap(openAs(this.#at(NOW, name), 'bpf-map'))
        found.set(parts[1], { layout: parts[2], map })
      }
      return found
    } catch (error) {
      for (const { map } of found.values()) map.close()
      throw error
    }
  }

  /** The program that was in force before `commit`, or null. */
  programBefore(name: string): BpfProgram | null {
    return BpfProgram.open(this.#at(BEFORE, `prog_${name}`))
  }

  /** The same of the links. */
  links(): PinnedLink[] {
    const found: PinnedLink[] = []
    try {
      for (const name of readdirSync(this.folder).sort()) {
        const parts = LINK.exec(name)
        if (parts === null) continue
        const link = new BpfLink(openAs(this.#at(name), 'bpf-link'))
        found.push({ index: Number(parts[1]), mode: parts[2] as XdpMode, link })
      }
      return found
    } catch (error) {
      for (const { link } of found) link.close()
      throw error
    }
  }

  /** Pins an object beside what is in force. @param layouts of its maps, by name; others are not pinned */
  stage(object: LoadedObject, layouts: ReadonlyMap<string, string>, programs: readonly string[]): void {
    mkdirSync(this.#at(NEXT), { mode: 0o700 })
    for (const [name, layout] of layouts) object.map(name).pin(this.#at(NEXT, `map_${name}_${layout}`))
    for (const name of programs) object.program(name).pin(this.#at(NEXT, `prog_${name}`))
  }

  /** What was staged is what the next agent goes on with. */
  commit(): void {
    this.#drop(BEFORE)
    if (existsSync(this.#at(NOW))) renameSync(this.#at(NOW), this.#at(BEFORE))
    renameSync(this.#at(NEXT), this.#at(NOW))
  }

  /** It is not, after all: what was before is. Harmless before `commit`. */
  rollBack(): void {
    this.#drop(NEXT)
    if (!existsSync(this.#at(BEFORE))) return
    this.#drop(NOW)
    renameSync(this.#at(BEFORE), this.#at(NOW))
  }

  /** All links run what was staged. */
  done(): void {
    this.#drop(BEFORE)
  }

  pinLink({ index, mode, link }: PinnedLink): void {
    link.pin(this.#at(`link_${index}_${mode}`))
  }

  unpinLink(index: number, mode: XdpMode): void {
    rmSync(this.#at(`link_${index}_${mode}`), { force: true })
  }

  /** Takes all programs off at once, and forgets everything. Answers how many links and maps there were. */
  remove(): { links: number; maps: number } {
    return removeEdge(this.folder)
  }
}

/** At once: a link whose last pin goes ends some time later. */
const detach = (path: string): void => {
  try {
    using link = new BpfLink(openAs(path, 'bpf-link'))
    link.detach()
  } catch {
    // Its interface is gone, or it is none of ours: it is only unpinned.
  }
}

export const countLinks = (folder: string): number =>
  readdirSync(folder).filter(name => LINK.test(name)).length

/** The same of a folder that may hold anything. */
export const removeEdge = (folder: string): { links: number; maps: number } => {
  if (!existsSync(folder) || !isBpffs(folder)) return { links: 0, maps: 0 }
  const names = readdirSync(folder)
  const links = names.filter(name => LINK.test(name))
  for (const name of links) {
    detach(join(folder, name))
    rmSync(join(folder, name), { force: true })
  }
  const maps = existsSync(join(folder, NOW))
    ? readdirSync(join(folder, NOW)).filter(name => MAP.test(name))
    : []
  rmSync(folder, { recursive: true, force: true })
  return { links: links.length, maps: maps.length }
}
