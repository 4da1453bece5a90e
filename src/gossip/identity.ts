/**
 * What a node is known by: its private key (whose public half is the peer id that the others list), and the
 * secret that all nodes of a cluster share (architecture decision 9).
 */
import { randomBytes } from 'node:crypto'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { ShuntError } from '../errors.ts'
import { readKeyFile, writeKeyFile } from './keyfile.ts'
import { SECRET_BYTES } from './keys.ts'

const IDENTITY = 'identity'
const SECRET = 'cluster secret'

/**
 * Makes an Ed25519 key in a new file (libp2p's protobuf form, mode 0600) and resolves with the peer id text.
 * Rejects with SHUNT_ERR_IDENTITY if the file exists.
 */
export const createIdentity = async (file: string): Promise<string> => {
  const key = await generateKeyPair('Ed25519')
  writeKeyFile(file, IDENTITY, privateKeyToProtobuf(key))
  return peerIdFromPrivateKey(key).toString()
}

/** The private key in a file. Throws SHUNT_ERR_IDENTITY if it is missing, damaged or of another kind. */
export const loadIdentity = (file: string): PrivateKey => {
  const bytes = readKeyFile(file, IDENTITY)
  let key: PrivateKey
  try {
    key = privateKeyFromProtobuf(bytes)
  } catch (error) {
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the identity ${file} is damaged; restore it from a backup, or make a new one with shunt keygen and give the peers its id`,
      { cause: error },
    )
  }
  if (key.type !== 'Ed25519')
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the identity ${file} holds a key of type ${key.type}, not Ed25519; make one with shunt keygen`,
    )
  return key
}

/** As loadIdentity, as a promise. */
export const readIdentity = async (file: string): Promise<PrivateKey> => loadIdentity(file)

/** The peer id text (12D3KooW…) of the private key in a file; rejects as readIdentity does. */
export const peerIdOf = async (file: string): Promise<string> =>
  peerIdFromPrivateKey(loadIdentity(file)).toString()

/** Makes a cluster secret: 32 random bytes as a base64 line, mode 0600. Throws SHUNT_ERR_IDENTITY if the file exists. */
export const createSecret = (file: string): void =>
  writeKeyFile(file, SECRET, `${randomBytes(SECRET_BYTES).toString('base64')}\n`)

/** The 32 bytes of a cluster secret. Throws SHUNT_ERR_IDENTITY if the file is missing or holds anything else. */
export const readSecret = (file: string): Uint8Array => {
  const text = Buffer.from(readKeyFile(file, SECRET)).toString('latin1').trimEnd()
  const bytes = Buffer.from(text, 'base64')
  // Node's decoder skips what is not base64: only a text that encodes back to itself is taken.
  if (bytes.length !== SECRET_BYTES || bytes.toString('base64') !== text)
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      `the cluster secret ${file} is not ${SECRET_BYTES} bytes in one base64 line; copy it again from another node, or make one with shunt keygen`,
    )
  return new Uint8Array(bytes)
}
