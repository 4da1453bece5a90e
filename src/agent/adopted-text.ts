import type { Adopted } from './dataplane/lasting-plan.ts'

const number = (count: number, what: string): string =>
  `${count.toLocaleString('en-US')} ${what}${count === 1 ? '' : 's'}`

/** For people: `went on with 4,812 flows of the agent before, 4,700 of them in the kernel all the time`. */
export const adoptedText = ({
  flows,
  mappings,
  routesInKernel,
  mappingsInKernel,
  sameEpoch,
  notes,
}: Adopted): string => {
  const part = (count: number, inKernel: number, what: string): string[] =>
    count === 0
      ? []
      : [`${number(count, what)} (${inKernel.toLocaleString('en-US')} in the kernel all the time)`]
  const parts = [...part(flows, routesInKernel, 'flow'), ...part(mappings, mappingsInKernel, 'mapping')]
  const what = parts.length === 0 ? 'the kernel state' : parts.join(' and ')
  const again = flows > 0 && !sameEpoch ? ['hosts are told of each flow again'] : []
  return [`went on with ${what} of the agent before`, ...again, ...notes].join('; ')
}
