/** `GET /exits` and `POST /exit-signature`: what sidecars poll and hand in (generation 3). */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'
import { answerList } from '../list-answer.ts'
import { foreignTo, nodeOf } from '../visits.ts'

/** Adds the routes. */
export function exitRoutes(bind: Bind, { auth, services, stopping }: ApiContext): void {
  const { lists, nodeKeys, nodes, signatures } = services

  bind(routes.getExits, (call) => answerList(lists.exits, nodes, call, stopping))

  bind(routes.postExitSignature, async ({ body, caller, route, request }) => {
    const { share_index: shareIndex, shares } = body
    auth.assertShareIndex(caller, shareIndex, route)
    const node = nodeOf(caller, request)
    nodes.posted(node, shareIndex)
    // Fields that generation 3 does not know are left where they are.
    const items = shares.map(({ public_key, exit_signature }) => ({ public_key, exit_signature }))
    const failures = await signatures.submit(shareIndex, items, foreignTo(caller, shareIndex, nodeKeys))
    const [first] = failures
    if (first === undefined) return {}
    nodes.refused(node, shareIndex, first.code)
    return { failures }
  })
}
