/** Whether this node is in its cluster, by what is saved here. */
import { type Check, type Facts, type Finding, fail, pass, skip, valueIn, warn } from '../facts.ts'

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`

const membership = ({ standing: known }: Facts): Finding[] => {
  if ('error' in known)
    return [
      warn(
        `What is saved of the cluster cannot be looked at: ${known.error}`,
        'run it as root; if the file is damaged, put a backup back with shunt restore',
      ),
    ]
  const standing = known.value
  if (standing === null) return [skip('Nothing of a managed cluster is saved here.')]
  switch (standing.kind) {
    case 'member':
      return [pass('This node is a member of its cluster, by what is saved here.')]
    case 'gone':
      return [
        // What follows the semicolon is advice to somebody who starts an agent.
        fail(
          sentence(standing.why.split(';')[0]!),
          'to come back as a new node: shunt join TOKEN --anew, with a token of the operator; else systemctl disable shunt',
        ),
      ]
    default: {
      const [what, ...advice] = standing.why.split('; ')
      return [fail(sentence(what!), advice.join('; '))]
    }
  }
}

/** True for a node whose agent is not to run: it would end at once. */
export const isOut = ({ standing }: Facts): boolean => valueIn(standing)?.kind === 'gone'

export const MEMBERSHIP_CHECKS: readonly Check[] = [{ id: 'membership', run: membership }]
