/**
 * Keys that sign statements: the operator's (architecture decision 13), whose private half stays on the operator's machine
 * and is never given to an agent, and a node's identity. The operator's file is PKCS #8 in PEM, as openssl genpkey writes it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { ShuntError } from '../errors.ts'
import { readKeyFile, writeKeyFile } from '../gossip/keyfile.ts'
import { peerOfPublicKey } from './peer-key.ts'
import type { Signer } from './statement.ts'

const OPERATOR = 'operator key'
const IDENTITY = 'identity'
/** PKCS #8 of an Ed25519 key up to its 32-byte seed (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
/** libp2p's protobuf { type: Ed25519, data: seed and public key }, up to the seed. */
const LIBP2P = Buffer.from('08011240', 'hex')

const rawPublic = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))

const signerOf = (key: KeyObject): Signer => ({
  publicKey: rawPublic(key),
  sign: bytes => new Uint8Array(sign(null, bytes, key)),
})

const operator = (key: KeyObject): Signer & { cluster: string } => {
  const signer = signerOf(key)
  return { ...signer, cluster: Buffer.from(signer.publicKey).toString('base64url') }
}

/** A signer with the private key of a 32-byte seed (RFC 8032). */
export const seedSigner = (seed: Uint8Array): Signer =>
  signerOf(createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' }))

/** Makes the operator's key in a new file of mode 0600. Throws SHUNT_ERR_IDENTITY if the file exists or cannot be written. */
export const createOperatorKey = (file: string): Signer & { cluster: string } => {
  const { privateKey } = generateKeyPairSync('ed25519')
  writeKeyFile(file, OPERATOR, privateKey.export({ format: 'pem', type: 'pkcs8' }))
  return operator(privateKey)
}

const readOperatorFile = (file: string): Uint8Array => {
  try {
    return readKeyFile(file, OPERATOR)
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined
    if (cause?.code !== 'ENOENT') throw error
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `there is no operator key at ${file}; run this where it is kept, or say where with --operator-key`,
      { cause: error },
    )
  }
}

/** The operator's key. Throws SHUNT_ERR_IDENTITY if it is missing, open to other users, damaged or of another kind. */
export const loadOperatorKey = (file: string): Signer & { cluster: string } => {
  const bytes = Buffer.from(readOperatorFile(file))
  if (LIBP2P.equals(bytes.subarray(0, LIBP2P.length)))
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `${file} is another kind of key: the identity of a node; give the operator's, which shunt init made (--operator-key)`,
    )
  let key: KeyObject
  try {
    key = createPrivateKey(bytes)
  } catch (error) {
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the operator key ${file} is damaged; restore it from a backup`,
      { cause: error },
    )
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the operator key ${file} is of type ${key.asymmetricKeyType}, not ed25519; check the path`,
    )
  return operator(key)
}

/** Signs with a node's identity. Throws SHUNT_ERR_IDENTITY as loadIdentity does. */
export const identitySigner = (identityFile: string): Signer & { id: string } => {
  const bytes = readKeyFile(identityFile, IDENTITY)
  const damaged = (): ShuntError =>
    new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the identity ${identityFile} is damaged or not an Ed25519 key; restore it with shunt restore`,
    )
  if (bytes.length !== LIBP2P.length + 64 || !LIBP2P.equals(bytes.subarray(0, LIBP2P.length))) throw damaged()
  const signer = seedSigner(bytes.subarray(LIBP2P.length, LIBP2P.length + 32))
  if (!Buffer.from(signer.publicKey).equals(bytes.subarray(LIBP2P.length + 32))) throw damaged()
  return { ...signer, id: peerOfPublicKey(signer.publicKey) }
}
