/** Numbers of <linux/netfilter/nfnetlink.h> and <linux/netfilter/nf_tables.h>, and the header they share. */
export const NFNL_SUBSYS_NFTABLES = 10
export const NFNL_MSG_BATCH_BEGIN = 16
export const NFNL_MSG_BATCH_END = 17

const message = (number: number): number => (NFNL_SUBSYS_NFTABLES << 8) | number
export const NFT_MSG_NEWSETELEM = message(12)
export const NFT_MSG_GETSETELEM = message(13)
export const NFT_MSG_DELSETELEM = message(14)
export const NFT_MSG_NEWOBJ = message(18)
export const NFT_MSG_GETOBJ = message(19)

export const NFPROTO = { inet: 1, ip: 2, netdev: 5, ip6: 10 } as const
export type NftFamily = keyof typeof NFPROTO

/** struct nfgenmsg { u8 family; u8 version; be16 resource; } */
export const nfGenericHeader = (family: number, resource = 0): Uint8Array =>
  Uint8Array.of(family, 0, resource >>> 8, resource)
