/** What the checks share that ask the running agent. */
import { type AgentFacts, type Facts, type Finding, type Known, skip, valueIn } from '../facts.ts'

export type WithAgent = (agent: AgentFacts, facts: Facts) => Finding[]
export const withAgent =
  (run: WithAgent) =>
  (facts: Facts): Finding[] => {
    const agent = valueIn(facts.agent)
    return agent === null ? [skip('The agent does not answer.')] : run(agent, facts)
  }

/** Skips when this agent did not answer that question. */
export const from = <T>(known: Known<T>, run: (value: T) => Finding[]): Finding[] =>
  'value' in known ? run(known.value) : [skip(`The agent did not say: ${known.error}`)]
