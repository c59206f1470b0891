/** `GET /validators` and `POST /signatures`: what sidecars poll and hand in (generation 4). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { answerList } from '../list-answer.ts'
import { foreignTo, nodeOf } from '../visits.ts'

/** Adds the routes. */
export function signatureRoutes(bind: Bind, { auth, services, stopping }: ApiContext): void {
  const { lists, nodeKeys, nodes, signatures } = services

  bind(routes.getValidators, (call) => answerList(lists.validators, nodes, call, stopping))

  bind(routes.postSignatures, async ({ body, caller, route, request }) => {
    const { share_index: shareIndex, shares } = body
    auth.assertShareIndex(caller, shareIndex, route)
    const node = nodeOf(caller, request)
    nodes.posted(node, shareIndex)
    const failures = await signatures.submit(shareIndex, shares, foreignTo(caller, shareIndex, nodeKeys))
    const [first] = failures
    if (first === undefined) return {}
    nodes.refused(node, shareIndex, first.code)
    return { failures }
  })
}
