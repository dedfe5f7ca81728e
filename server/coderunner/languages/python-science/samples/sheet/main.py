import io

import openpyxl
import pandas as pd
import statsmodels.api as sm

sheet = io.BytesIO()
pd.DataFrame({"x": [1, 2, 3, 4], "y": [3.1, 4.9, 7.0, 9.0]}).to_excel(sheet, index=False)
table = pd.read_excel(sheet)
print(openpyxl.load_workbook(sheet).active.max_row)
print(sm.OLS(table.y, sm.add_constant(table.x)).fit().params.round(2).to_dict())
