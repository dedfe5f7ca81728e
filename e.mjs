export {computePosition,flip,shift} from '@floating-ui/dom'
