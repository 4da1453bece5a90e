/** The same path, at the agent of another node. */
export const pathAt = (path: string, node: string | undefined): string =>
  node === undefined ? path : path.replace('/v1/', `/v1/nodes/${encodeURIComponent(node)}/`)
