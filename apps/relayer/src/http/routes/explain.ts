/** `GET /validators/{public_key}/explain`: why a validator is not ready. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { Bind } from '../bind.ts'
import type { ApiContext } from '../context.ts'

/** Adds the route. */
export function explainRoutes(bind: Bind, { services }: ApiContext): void {
  bind(routes.getExplanation, ({ params, caller }) => services.explanations.of(fromHex(params.public_key, 48), caller))
}
