/** `GET /validators/{public_key}/explain`: why a validator is not ready. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { foreignTo } from '../visits.ts'

/** Adds the route. */
export function explainRoutes(bind: Bind, { services }: ApiContext): void {
  const { explanations, nodeKeys } = services

  bind(routes.getExplanation, async ({ params, caller }) => {
    const publicKey = fromHex(params.public_key, 48)
    const { shareIndexes = [] } = caller
    if (caller.node === undefined) return explanations.of(publicKey, caller)
    const own: number[] = []
    for (const shareIndex of shareIndexes)
      if ((await foreignTo(caller, shareIndex, nodeKeys)?.([publicKey]))?.size === 0) own.push(shareIndex)
    return explanations.of(publicKey, { ...caller, shareIndexes: own })
  })
}
