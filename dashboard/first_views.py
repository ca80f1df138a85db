"""What pages begin with among drawn animals: chosen by looking, so that the first view shows what the page is about.

Pages, Home's pictures and tests go by it. Photos are not known beforehand: see `pickers.offered_objects`.
"""

MATCHED = ("toy-cat-val-008", "toy-cat-val-015")  # layers find the first one's eye in the second, SIFT does not
POINT = (122, 126)  # that eye
REBUILT = "toy-cat-val-008"  # the sample whose eye is rebuilt from eyes by every layer
AVERAGED = "toy-cow-val-015"  # the sample on whose eye neighbours agree, and less and less around it
KEYPOINT = "L_F_Paw"  # one of four alike, which only what lies around them tells apart
PRIORS = 1  # train objects that the prior is from: one of sixty stands in nearly the same pose, of photos none does
