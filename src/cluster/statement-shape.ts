/** The shape of a statement, strictly: a field that this version does not know could change what a signature means. */
import { z } from 'zod'
import { addressFault } from '../config/address-fault.ts'
import { ROLES } from '../config/schema.ts'
import type { Statement, TokenBody } from './types.ts'

/** Of the text of a cluster document, UTF-8. */
export const MAX_DOCUMENT_BYTES = 131_072
/** The last instant that a Date can hold. */
const MAX_MS = 8_640_000_000_000_000
const MAX_COUNT = 0x7fff_ffff

/** Base64 of exactly so many bytes, in its one canonical form. */
const base64 = (bytes: number) =>
  z.string().refine(
    text => {
      const decoded = Buffer.from(text, 'base64')
      return decoded.length === bytes && decoded.toString('base64') === text
    },
    { error: `must be ${bytes} bytes in base64` },
  )

const clusterId = z.string().refine(
  text => {
    const decoded = Buffer.from(text, 'base64url')
    return decoded.length === 32 && decoded.toString('base64url') === text
  },
  { error: 'must be 32 bytes in base64url' },
)

const name = z.string().regex(/^[a-z0-9-]{1,63}$/, { error: 'must be 1 to 63 of a-z, 0-9 and -' })
const peerId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/, { error: 'must be a peer id' })
const hash = z.string().regex(/^[0-9a-f]{64}$/, { error: 'must be a SHA-256 in hexadecimal' })
const atMs = z.int().min(0).max(MAX_MS)
const count = z.int().min(1).max(MAX_COUNT)
const port = z.int().min(1).max(65_535)
const address = z.ipv4().refine(ip => {
  const first = Number(ip.split('.')[0])
  return first > 0 && first < 224
}, 'must be a unicast IPv4 address')
const address6 = z.ipv6().refine(ip => addressFault(ip) === undefined, 'must be a unicast IPv6 address')
const roles = z
  .array(z.enum(ROLES))
  .max(ROLES.length)
  .refine(list => new Set(list).size === list.length, 'must name a role once')

const facts = z
  .strictObject({
    ...{ id: peerId, name, address, tunnel: address.optional() },
    ...{ address6: address6.optional(), tunnel6: address6.optional(), roles },
  })
  .refine(node => node.tunnel !== node.address, 'tunnel and address must differ')
  .refine(
    node => node.tunnel6 === undefined || node.tunnel6 !== node.address6,
    'tunnel6 and address6 must differ',
  )

const tokenBody = z
  .strictObject({
    token: z.string().regex(/^[A-Za-z0-9_-]{21}$/, { error: 'must be 21 characters' }),
    issuer: peerId,
    roles: roles.min(1),
    uses: z.int().min(1).max(1_000),
    issuedMs: atMs,
    expiresMs: atMs,
  })
  .refine(token => token.issuedMs < token.expiresMs, 'expiresMs must be after issuedMs')

const signature = base64(64)
const body = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('genesis'),
    name,
    atMs,
    choiceSeed: base64(32),
    controlPort: port,
    mappingPort: port,
  }),
  z.strictObject({
    kind: z.literal('admit'),
    node: facts,
    atMs,
    token: z.strictObject({ body: tokenBody, signature, slot: z.int().min(1).max(1_000) }).optional(),
    proof: signature.optional(),
  }),
  z.strictObject({ kind: z.literal('roles'), id: peerId, roles, revision: count, atMs }),
  z.strictObject({
    kind: z.literal('directive'),
    id: peerId,
    app: z.union([z.literal('*'), name]),
    state: z.enum(['active', 'draining', 'inactive']),
    revision: count,
    atMs,
  }),
  z.strictObject({ kind: z.literal('remove'), id: peerId, reason: z.enum(['left', 'evicted']), atMs }),
  z.strictObject({
    kind: z.literal('secret'),
    number: count,
    secret: base64(32),
    graceMs: z.int().min(0).max(86_400_000),
    excludes: z.array(peerId).max(1_024),
    atMs,
  }),
  z.strictObject({
    kind: z.literal('config'),
    revision: count,
    parent: z.union([z.literal(''), hash]),
    text: z.string().refine(text => Buffer.byteLength(text) <= MAX_DOCUMENT_BYTES, {
      error: `must be at most ${MAX_DOCUMENT_BYTES} bytes`,
    }),
    note: z.string().max(1_000),
    atMs,
  }),
])

export const statementShape: z.ZodType<Statement> = z.strictObject({
  cluster: clusterId,
  by: z.union([z.literal('operator'), peerId]),
  body,
  signature,
})
export const tokenShape: z.ZodType<TokenBody> = tokenBody

/** What is wrong with the shape of a value, or undefined: the first fault, with its place. */
export const shapeFault = (shape: z.ZodType, value: unknown): string | undefined => {
  const issue = shape.safeParse(value).error?.issues[0]
  if (issue === undefined) return undefined
  const at = issue.path.map(String).join('.')
  return `${at === '' ? '' : `${at}: `}${issue.message}`
}
