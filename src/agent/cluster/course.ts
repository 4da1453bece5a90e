/** What the agent's parts are set up by, in a static cluster and in a managed one alike. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { NodeConfig } from '../../config/schema.ts'
import { readSecret } from '../../gossip/identity.ts'
import { atomsKey, choiceKey, networkKey } from '../../gossip/keys.ts'
import type { Situation } from './situation.ts'

export interface Course {
  readonly config: NodeConfig
  /** Cluster secrets by their number on the wire (one byte); the first one signs. */
  readonly secrets: readonly { readonly number: number; readonly bytes: Uint8Array }[]
  /** The first one dials, all are accepted. */
  readonly networkKeys: readonly Uint8Array[]
  readonly choiceKey: readonly [number, number]
  readonly atomsKey: readonly [number, number]
  readonly leaving: ReadonlySet<string>
  readonly revision: number
  /** The operator's orders about this host's applications. */
  readonly directives: readonly DirectiveOrder[]
}

/** Of a node file that says everything itself. @throws ShuntError SHUNT_ERR_IDENTITY for a missing or damaged secret */
export const staticCourse = (config: NodeConfig): Course => {
  const secrets = config.cluster.secrets.map(({ number, file }) => ({ number, bytes: readSecret(file) }))
  return {
    config,
    secrets,
    networkKeys: secrets.map(({ bytes }) => networkKey(bytes)),
    choiceKey: choiceKey(secrets[0].bytes),
    atomsKey: atomsKey(secrets[0].bytes),
    leaving: new Set(),
    revision: 0,
    directives: [],
  }
}

export const managedCourse = (situation: Situation): Course => ({
  config: situation.config,
  secrets: situation.secrets.map(({ secret }) => ({ number: secret.number & 0xff, bytes: secret.bytes })),
  networkKeys: situation.network.map(({ bytes }) => networkKey(bytes)),
  choiceKey: choiceKey(situation.choiceSeed),
  atomsKey: atomsKey(situation.choiceSeed),
  leaving: situation.leaving,
  revision: situation.revision,
  directives: situation.directives,
})

/** Equal for courses that make no difference to any part. */
export const fingerprint = (course: Course): string =>
  JSON.stringify([
    course.config,
    course.secrets.map(({ number, bytes }) => [number, Buffer.from(bytes).toString('base64')]),
    course.networkKeys.map(key => Buffer.from(key).toString('base64')),
    [...course.leaving].sort(),
    course.revision,
    course.directives,
  ])
