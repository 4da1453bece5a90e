/** How the agent of a node that was just set up is started, for remarks. */
import { DEFAULT_OPTIONS } from '../lab/options.ts'

/** `env`: inside a node of a lab (shunt lab exec) it names the lab and the node. */
export const startHint = (config: string, env: NodeJS.ProcessEnv = process.env): string => {
  const { SHUNT_LAB: lab, SHUNT_LAB_NODE: node } = env
  if (lab === undefined || node === undefined)
    return `systemctl enable --now shunt (or shunt agent --config ${config})`
  return `shunt lab start${lab === DEFAULT_OPTIONS.name ? '' : ` --name ${lab}`} ${node}`
}
