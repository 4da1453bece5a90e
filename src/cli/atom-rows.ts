/** What members have of one connection, put together: which version is in force, and whether they agree. */
import type { AtomData, AtomsData, Envelope, NodesData } from '../control/types.ts'
import { errorText } from '../errors.ts'
import { isUnreachable } from './noun-command.ts'

export interface MemberAtom {
  member: string
  /** `null`: it has none, or did not answer. */
  atom: AtomData | null
  /** Why it did not answer. */
  error: string | null
}

export interface FoundAtom {
  /** Of the version in force; `null`: nobody knows the connection, or its host is none any more. */
  host: string | null
  owner: string | null
  ended: boolean
  wanted: number | 'full' | null
  /** Members besides the owner that keep the version in force as a copy, not only because they looked it up. */
  copies: number
  members: MemberAtom[]
  troubles: string[]
}

/** @param node that was asked; undefined: the one of the socket @param nodes of the cluster, where they are known */
export const noMember = (node: string | undefined, nodes?: NodesData): string => {
  const one = nodes?.nodes.find(
    ({ roles, agent }) => agent === 'alive' && (roles.includes('forwarder') || roles.includes('classifier')),
  )
  return `${node ?? 'this node'} holds no atoms: it is neither forwarder nor classifier; ask one: --node ${one?.name ?? 'NAME (shunt nodes shows them)'}`
}

/** Asks the members that the first one knows of, itself among them. */
export const lookUp = async (
  first: string,
  { members, atom }: AtomsData,
  ask: (node: string) => Promise<Envelope<AtomsData>>,
): Promise<FoundAtom> => {
  const others = members.filter(({ name }) => name !== first)
  const answers = await Promise.all(
    others.map(async ({ name }): Promise<MemberAtom> => {
      try {
        return { member: name, atom: (await ask(name)).data.atom, error: null }
      } catch (error) {
        if (!isUnreachable(error)) throw error
        return { member: name, atom: null, error: errorText(error) }
      }
    }),
  )
  const own: MemberAtom = { member: first, atom, error: null }
  return putTogether([own, ...answers])
}

export const putTogether = (members: MemberAtom[]): FoundAtom => {
  const known = members.flatMap(({ member, atom }) => (atom === null ? [] : [{ member, ...atom }]))
  const newest = known.reduce<(typeof known)[number] | null>(
    (best, one) => (best === null || one.generation > best.generation ? one : best),
    null,
  )
  const inForce = known.filter(({ generation }) => generation === newest?.generation)
  const copies = inForce.filter(({ member, owner, place }) => member !== owner && place !== 'cached').length
  const silent = members.filter(({ error }) => error !== null)
  const troubles = silent.map(({ member, error }) => `no answer of ${member}: ${error}`)
  if (newest === null) troubles.push('no member knows this connection')
  const hosts = new Set(inForce.map(({ host }) => host))
  if (hosts.size > 1) troubles.push(`members name different hosts: ${[...hosts].join(', ')}`)
  const old = known.filter(({ generation, place }) => generation !== newest?.generation && place !== 'cached')
  if (old.length > 0)
    troubles.push(
      `${old.map(({ member }) => member).join(', ')} ${old.length === 1 ? 'has' : 'have'} an older version`,
    )
  return {
    host: newest?.host ?? null,
    owner: newest?.owner ?? null,
    ended: newest?.ended ?? false,
    wanted: newest?.wanted ?? null,
    ...{ copies, members, troubles },
  }
}

export interface AtomLine extends MemberAtom {
  /** own, copy, cached, ended, nothing, no answer */
  has: string
}

export const atomRows = ({ members }: FoundAtom): AtomLine[] =>
  members.map(each => ({ ...each, has: each.atom?.place ?? (each.error === null ? 'nothing' : 'no answer') }))
